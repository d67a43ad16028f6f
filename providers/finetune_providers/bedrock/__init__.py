"""The provider `Bedrock`: fine-tuning with model customization jobs of Amazon Bedrock."""

from finetune_providers.bedrock.provider import BedrockProvider, create

__all__ = ["BedrockProvider", "create"]
