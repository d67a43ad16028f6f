"""A model that answers through chat completions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import openai

from finetune_providers.base import Conversation
from finetune_providers.calls import INFERENCE_TIMEOUT_S, Calls
from finetune_providers.errors import JobNotFound, ProviderError, UnexpectedResponse
from finetune_providers.openai_protocol.errors import told
from finetune_providers.openai_protocol.parsing import items

CONTENT_FILTER = "content_filter"


class ChatSession:
    """Answers one conversation a call."""

    batch_size = 1
    concurrency = 4

    def __init__(
        self,
        client: Any,
        calls: Calls,
        model: str,
        *,
        missing: Callable[[str, JobNotFound | None], ProviderError | None],
    ) -> None:
        """Answer with a model, or with what Azure calls a deployment.

        Args:
            client: The SDK's.
            calls: How calls are made.
            model: What is asked.
            missing: Says what it means that there is no such model; told without an error once it has answered.
        """
        self._client = client
        self._calls = calls
        self._model = model
        self._missing = missing

    async def answer(self, conversations: Sequence[Conversation], *, max_output_tokens: int) -> Sequence[str]:
        """See `InferenceSession.answer`; what a content filter holds back is an empty answer."""
        try:
            answers = [await self._answer(each, max_output_tokens) for each in conversations]
        except JobNotFound as error:
            raise (self._missing(self._model, error) or error) from None
        self._missing(self._model, None)
        return answers

    async def _answer(self, conversation: Conversation, most: int) -> str:
        return await self._calls.read(lambda: self._ask(conversation, most), timeout_s=INFERENCE_TIMEOUT_S)

    async def _ask(self, conversation: Conversation, max_output_tokens: int) -> str:
        try:
            answer = await self._client.chat.completions.create(
                model=self._model,
                messages=[{"role": each["role"], "content": each["content"]} for each in conversation],
                # The newer max_completion_tokens is not known to every service that speaks this protocol, and every
                # model that can be fine-tuned by examples takes this one.
                max_tokens=max_output_tokens,
                temperature=0,
            )
        except openai.BadRequestError as error:
            if told(error, "code") == CONTENT_FILTER:
                return ""
            raise
        return _content(answer)


def _content(answer: object) -> str:
    choices = items(answer, "choices")
    if not choices:
        raise UnexpectedResponse("the answer has no choice")
    message = getattr(choices[0], "message", None)
    if message is None:
        raise UnexpectedResponse("the answer has no message")
    if getattr(choices[0], "finish_reason", None) == CONTENT_FILTER:
        return ""
    content = getattr(message, "content", None)
    if content is None:
        return ""  # refused, or nothing said
    if not isinstance(content, str):
        raise UnexpectedResponse("the answer's content is no text")
    return content
