"""Fine-tuning at Azure OpenAI, with deployments through Azure Resource Manager."""

from finetune_providers.azure_openai.provider import AzureOpenAIProvider, create

__all__ = ["AzureOpenAIProvider", "create"]
