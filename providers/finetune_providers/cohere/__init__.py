"""Fine-tuning at Cohere, through its own SDK."""

from finetune_providers.cohere.provider import BASE_URL, CohereProvider, create

__all__ = ["BASE_URL", "CohereProvider", "create"]
