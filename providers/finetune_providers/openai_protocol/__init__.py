"""What OpenAI and Azure OpenAI have in common: one fine-tuning API, spoken through one SDK."""

from finetune_providers.openai_protocol.account import Account
from finetune_providers.openai_protocol.client import client_of, without_environment
from finetune_providers.openai_protocol.data import DataLimits
from finetune_providers.openai_protocol.errors import Explainer, Forbidden
from finetune_providers.openai_protocol.provider import OpenAIProtocol

__all__ = [
    "Account",
    "DataLimits",
    "Explainer",
    "Forbidden",
    "OpenAIProtocol",
    "client_of",
    "without_environment",
]
