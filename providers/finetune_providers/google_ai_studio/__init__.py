"""Tuned models of the Gemini API, over its REST interface: Google's SDK leaves the training data out."""

from finetune_providers.google_ai_studio.provider import GoogleAIStudio, create

__all__ = ["GoogleAIStudio", "create"]
