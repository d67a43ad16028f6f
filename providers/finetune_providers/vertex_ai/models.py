"""Models at Vertex AI: their answers and their end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from google.cloud import aiplatform_v1 as api
from google.rpc import code_pb2

from finetune_providers.base import Conversation
from finetune_providers.calls import INFERENCE_TIMEOUT_S
from finetune_providers.errors import JobNotFound, PermanentProviderError, TransientProviderError
from finetune_providers.vertex_ai.account import Account, Ask
from finetune_providers.vertex_ai.wire import Made, generation_config, text_of, to_contents

DELETION_WAIT_S = 120.0

Sleep = Callable[[float], Awaitable[object]]


class Session:
    """A model that answers one conversation a call."""

    batch_size = 1
    concurrency = 4

    def __init__(self, account: Account, resource: str, ask: Ask, *, traits: Mapping[str, str]) -> None:
        self._ask, self._account, self._resource, self._traits = ask, account, resource, traits

    async def answer(self, conversations: Sequence[Conversation], *, max_output_tokens: int) -> Sequence[str]:
        return [await self._one(conversation, max_output_tokens) for conversation in conversations]

    async def _one(self, conversation: Conversation, max_output_tokens: int) -> str:
        converted = to_contents(list(conversation))
        system = converted.get("systemInstruction")
        request = api.GenerateContentRequest(
            contents=converted["contents"],
            # A question knows the roles user and model alone; that of a system prompt is left out.
            system_instruction=None if system is None else {"parts": system["parts"]},
            generation_config=generation_config(self._traits, max_output_tokens),
        )
        answer = await self._ask(
            lambda: self._account.ask(
                "POST",
                f"{self._resource}:generateContent",
                api.GenerateContentResponse,
                body=request,
                timeout_s=INFERENCE_TIMEOUT_S,
            ),
            timeout_s=INFERENCE_TIMEOUT_S,
        )
        return text_of(answer)


async def delete_made(account: Account, made: Made, ask: Ask, sleep: Sleep) -> None:
    """Delete a model and its endpoints, in the order that Vertex AI asks for; what is gone already is no error.

    Raises:
        PermanentProviderError: Something cannot be deleted; the rest was.
        TransientProviderError: It takes longer than `DELETION_WAIT_S`; the same call goes on with it.
    """

    async def gone(start: Callable[[], Any]) -> None:
        with suppress(JobNotFound):
            started = await ask(start)
            await _end_of(account, started, ask, sleep)

    models = {made.model} if made.model else set()
    for endpoint in made.endpoints:
        for deployed in await _deployed(account, endpoint, ask):
            await gone(_undeployment(account, endpoint, deployed.id))
            if not made.model:
                models |= {deployed.model} - {""}
    refusal: PermanentProviderError | None = None
    for name in [*sorted({each.partition("@")[0] for each in models}), *made.endpoints]:
        try:
            await gone(_deletion(account, name))
        except PermanentProviderError as error:  # the others shall not be left behind for it
            refusal = refusal or error
    if refusal is not None:
        raise refusal


def _undeployment(account: Account, endpoint: str, deployed: str) -> Callable[[], Any]:
    request = api.UndeployModelRequest(deployed_model_id=deployed)
    return lambda: account.ask("POST", f"{endpoint}:undeployModel", body=request)


def _deletion(account: Account, name: str) -> Callable[[], Any]:
    return lambda: account.ask("DELETE", name)


async def _deployed(account: Account, endpoint: str, ask: Ask) -> Sequence[Any]:
    try:
        found = await ask(lambda: account.ask("GET", endpoint, api.Endpoint))
    except JobNotFound:
        return ()
    return tuple(found.deployed_models)


async def _end_of(account: Account, started: Mapping[str, Any], ask: Ask, sleep: Sleep) -> None:
    """Wait for a long-running operation's end, and raise what it failed with."""
    shown, name = started, str(started.get("name", ""))
    waited, pause = 0.0, 0.1
    while not shown.get("done"):
        if waited >= DELETION_WAIT_S:
            raise TransientProviderError(f"operation {name} has not ended", retry_after_s=60.0)
        await sleep(pause)
        waited, pause = waited + pause, min(2 * pause, 5.0)
        shown = await ask(lambda: account.ask("GET", name))
    _check_operation(shown)


def _check_operation(operation: Mapping[str, Any]) -> None:
    error = operation.get("error") or {}
    code, message = error.get("code", code_pb2.OK), str(error.get("message", "it failed"))
    if code in {code_pb2.OK, code_pb2.NOT_FOUND}:
        return
    passing = {
        code_pb2.UNAVAILABLE,
        code_pb2.ABORTED,
        code_pb2.INTERNAL,
        code_pb2.DEADLINE_EXCEEDED,
        code_pb2.RESOURCE_EXHAUSTED,
    }
    raise (TransientProviderError if code in passing else PermanentProviderError)(message)
