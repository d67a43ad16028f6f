"""A model that answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from finetune_providers.base import Conversation
from finetune_providers.calls import INFERENCE_TIMEOUT_S, Calls
from finetune_providers.errors import UnexpectedResponse
from finetune_providers.google_ai_studio.rest import COMPANY, Rest
from finetune_providers.google_ai_studio.wire import contents, objects, take


@dataclass(slots=True)
class ChatSession:
    """A model that answers one conversation a call."""

    calls: Calls
    rest: Rest
    path: str
    batch_size: int = 1
    concurrency: int = 4

    async def answer(self, conversations: Sequence[Conversation], *, max_output_tokens: int) -> Sequence[str]:
        """Answer each conversation; "" where Google withholds the answer."""
        return [await self._one(conversation, max_output_tokens) for conversation in conversations]

    async def _one(self, conversation: Conversation, max_output_tokens: int) -> str:
        body = {
            "contents": contents(conversation),
            "generationConfig": {"temperature": 0, "maxOutputTokens": max_output_tokens},
        }
        answer = await self.calls.read(
            lambda: self.rest.send("POST", self.path, body=body), timeout_s=INFERENCE_TIMEOUT_S
        )
        candidates = objects(answer, "candidates")
        if not candidates:
            if take(answer, "promptFeedback", dict, {}).get("blockReason"):
                return ""
            raise UnexpectedResponse(
                f"{COMPANY}: an answer has neither a candidate nor a reason for its lack"
            )
        parts = objects(take(candidates[0], "content", dict, {}), "parts")
        return "".join(take(part, "text", str, "") for part in parts if not part.get("thought"))
