"""A model that answers."""

from __future__ import annotations

from collections.abc import Sequence

from cohere import AsyncClientV2

from finetune_providers.base import Conversation
from finetune_providers.calls import INFERENCE_TIMEOUT_S, Calls
from finetune_providers.cohere.finetuned_models import FinetunedModels
from finetune_providers.cohere.wire import ASLEEP, SUFFIX, answer_text, options
from finetune_providers.errors import PermanentProviderError, TransientProviderError


class ChatSession:
    """A model that answers one conversation a call."""

    batch_size = 1
    concurrency = 4

    def __init__(self, client: AsyncClientV2, calls: Calls, models: FinetunedModels, *, model: str) -> None:
        """Ask with the SDK's client."""
        self._client, self._calls, self._models, self._model = client, calls, models, model

    async def answer(self, conversations: Sequence[Conversation], *, max_output_tokens: int) -> Sequence[str]:
        return [await self._one(each, max_output_tokens) for each in conversations]

    async def _one(self, conversation: Conversation, max_output_tokens: int) -> str:
        """One answer.

        Raises:
            TransientProviderError: Among others while the model is being woken up.
        """
        model = self._model
        try:
            answer = await self._calls.read(
                lambda: self._client.chat(
                    model=model,
                    messages=[dict(message) for message in conversation],
                    max_tokens=max_output_tokens,
                    temperature=0.0,
                    request_options=options(INFERENCE_TIMEOUT_S),
                ),
                timeout_s=INFERENCE_TIMEOUT_S,
            )
        except PermanentProviderError as error:
            native = await self._models.get(model.removesuffix(SUFFIX)) if model.endswith(SUFFIX) else None
            if native is not None and native.status in ASLEEP:
                raise TransientProviderError(f"{model} is {native.status}: {error}") from error
            raise
        return answer_text(answer)
