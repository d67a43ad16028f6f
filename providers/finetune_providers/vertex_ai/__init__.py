"""Vertex AI: supervised tuning of Gemini models, with datasets in Cloud Storage."""

from finetune_providers.vertex_ai.provider import VertexAI, create

__all__ = ["VertexAI", "create"]
