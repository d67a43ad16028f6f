"""How a model of Bedrock is put on machines and answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from finetune_providers.base import Conversation, Deployment, DeploymentState
from finetune_providers.bedrock.aws import CONTROL, RUNTIME, Answer, Aws, inner, items_of, text_of
from finetune_providers.bedrock.errors import Conflict, Invalid
from finetune_providers.calls import INFERENCE_TIMEOUT_S
from finetune_providers.catalog import Catalog
from finetune_providers.conversations import split_system
from finetune_providers.errors import JobNotFound, PermanentProviderError, TransientProviderError
from finetune_providers.redaction import clean

_DEPLOYMENT_STATES = {
    "Active": DeploymentState.ACTIVE,
    "InService": DeploymentState.ACTIVE,
    "Failed": DeploymentState.FAILED,
}
FORGOTTEN_AFTER_S = 600.0
"""So long a deployment that AWS says it has made may not be seen, before it counts as one that was deleted."""
_FILTERED = {"content_filtered", "guardrail_intervened"}


@dataclass(frozen=True, slots=True)
class _DeploymentKind:
    """One of the two ways to have a fine-tuned model answer, in AWS's words.

    Attributes:
        create, get, delete: Operations.
        identifier: What the name is called in `get` and `delete`.
        name: What it is called in `create`.
        model: What the fine-tuned model is called in `create`.
        arn: What inference takes, in the answer of `get`.
        further: Further parameters of `create`.
        name_is_token: The name is the clientRequestToken, too.
    """

    create: str
    get: str
    delete: str
    identifier: str
    name: str
    model: str
    arn: str
    further: Mapping[str, Any] = field(default_factory=dict)
    name_is_token: bool = False

    def parameters(self, model: str, name: str, *, count: int) -> dict[str, Any]:
        """What `create` is called with for the `count`-th deployment of this name."""
        token = (
            {"clientRequestToken": name if count == 1 else f"{name}-{count}"} if self.name_is_token else {}
        )
        return {self.name: name, self.model: model, **self.further, **token}


_ON_DEMAND = _DeploymentKind(
    create="create_custom_model_deployment",
    get="get_custom_model_deployment",
    delete="delete_custom_model_deployment",
    identifier="customModelDeploymentIdentifier",
    name="modelDeploymentName",
    model="modelArn",
    arn="customModelDeploymentArn",
    # Its name is unique, which is enough: a token of its own would tie a later deployment of this name to one that
    # was deleted.
)
_PROVISIONED = _DeploymentKind(
    create="create_provisioned_model_throughput",
    get="get_provisioned_model_throughput",
    delete="delete_provisioned_model_throughput",
    identifier="provisionedModelId",
    name="provisionedModelName",
    model="modelId",
    arn="provisionedModelArn",
    further={"modelUnits": 1},  # without commitmentDuration: by the hour
    name_is_token=True,  # it is dear, and nowhere is written that names are unique
)


class Deployments:
    """An account's deployments of fine-tuned models."""

    def __init__(
        self,
        aws: Aws,
        catalog: Catalog,
        *,
        provisioned: str,
        secrets: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Deploy over `aws`; `provisioned` is "Allow" where throughput may be bought by the hour."""
        self._aws, self._catalog, self._provisioned, self._secrets = aws, catalog, provisioned, secrets
        self._clock = clock
        self._unseen: dict[str, tuple[int, float | None]] = {}

    async def deploy(self, model: str, name: str) -> Deployment:
        """See to it that a deployment is there, and say how it is."""
        kind = self._kind_of(model)
        found = await self._deployment(kind, name)
        if found is None:
            found = await self._made(kind, model, name)
        if found is None:  # not to be seen yet
            return Deployment(name, DeploymentState.CREATING, "")
        self._unseen.pop(name, None)
        if text_of(found, "modelArn") != model:
            raise PermanentProviderError(
                f"deployment {name} is of another model; delete it in the AWS console"
            )
        native = text_of(found, "status")
        return Deployment(
            name,
            _DEPLOYMENT_STATES.get(native, DeploymentState.CREATING),
            text_of(found, kind.arn),
            native_state=native,
            message=clean(str(found.get("failureMessage") or ""), self._secrets),
        )

    async def _made(self, kind: _DeploymentKind, model: str, name: str) -> Answer | None:
        """Make a deployment; None where it is not to be seen yet."""
        count, since = self._unseen.get(name, (1, None))
        if since is not None and self._clock() - since > FORGOTTEN_AFTER_S:
            # A token outlives what was made with it, and would give nothing but a deployment that was deleted.
            count, since = count + 1, None
        self._unseen[name] = (count, None)  # a call that fails proves nothing
        refusal: PermanentProviderError | None = None
        try:
            await self._aws.read(CONTROL, kind.create, **kind.parameters(model, name, count=count))
        except PermanentProviderError as error:
            refusal = error  # it may be that somebody was quicker, for which AWS has no word of its own
        found = await self._deployment(kind, name)
        if found is None and refusal is not None and not isinstance(refusal, Conflict):
            if await self._is_in_the_making(model):
                return None
            raise refusal
        self._unseen[name] = (count, self._clock() if since is None else since)
        return found

    async def _is_in_the_making(self, model: str) -> bool:
        """Whether a model is not ready to be deployed yet, though its job has ended."""
        try:
            answer = await self._aws.read(CONTROL, "get_custom_model", modelIdentifier=model)
        except PermanentProviderError:
            return False
        return answer.get("modelStatus") == "Creating"

    def _kind_of(self, model: str) -> _DeploymentKind:
        """How a fine-tuned model is put on machines: its ARN names its base model."""
        base = model.split(":custom-model/", 1)[-1].rpartition("/")[0]
        rules = self._catalog.rules(base)
        if rules is None or rules.traits.get("serving") != "provisioned":
            return _ON_DEMAND
        if self._provisioned == "Allow":
            return _PROVISIONED
        raise PermanentProviderError(
            f"a fine-tuned {base} answers only through Provisioned Throughput, which spec.options."
            'provisionedThroughput of the FinetuneProvider does not allow; set it to "Allow" to pay for it by the '
            "hour",
            field="baseModels",
        )

    async def _deployment(self, kind: _DeploymentKind, name: str) -> Answer | None:
        try:
            return await self._aws.read(CONTROL, kind.get, **{kind.identifier: name})
        except (
            JobNotFound,
            Invalid,
        ):  # the name is in the right form: what is wrong with it is that it is not there
            return None

    async def undeploy(self, name: str) -> None:
        """Delete a deployment of either kind: first what costs by the hour."""
        refusal: PermanentProviderError | None = None
        try:
            if await self._undeploy(_PROVISIONED, name):
                return
        except PermanentProviderError as error:
            refusal = error
        if await self._undeploy(_ON_DEMAND, name) or refusal is None:
            return
        # Who may not even buy throughput needs no permission to give it back.
        if self._provisioned == "Allow" or await self._is_there(_PROVISIONED, name):
            raise refusal

    async def _undeploy(self, kind: _DeploymentKind, name: str) -> bool:
        """Delete a deployment of one kind; whether there was one."""
        try:
            await self._aws.read(CONTROL, kind.delete, **{kind.identifier: name})
        except JobNotFound:
            return False
        except PermanentProviderError as error:
            refusal = error
        else:
            return True
        try:
            found = await self._deployment(kind, name)
        except PermanentProviderError:
            raise refusal from None
        if found is None:
            return False
        if isinstance(refusal, Conflict) or found.get("status") not in _DEPLOYMENT_STATES:
            raise TransientProviderError(f"{name} cannot be deleted now: {refusal}")
        raise refusal

    async def _is_there(self, kind: _DeploymentKind, name: str) -> bool:
        try:
            return await self._deployment(kind, name) is not None
        except PermanentProviderError:
            return False


class Session:
    """A model that answers through the Converse API."""

    batch_size = 1
    concurrency = 4

    def __init__(self, aws: Aws, model: str) -> None:
        self._aws, self._model = aws, model

    async def answer(self, conversations: Sequence[Conversation], *, max_output_tokens: int) -> Sequence[str]:
        return [await self._answer(conversation, max_output_tokens) for conversation in conversations]

    async def _answer(self, conversation: Conversation, max_output_tokens: int) -> str:
        system, turns = split_system(list(conversation))
        parameters: dict[str, Any] = {
            "modelId": self._model,
            "messages": [{"role": turn["role"], "content": [{"text": turn["content"]}]} for turn in turns],
            "inferenceConfig": {"maxTokens": max_output_tokens, "temperature": 0.0},
        }
        if system is not None:
            parameters["system"] = [{"text": system}]
        calls, clients = self._aws.calls, self._aws.clients
        answer = await calls.read(
            lambda: calls.in_thread(clients.call, RUNTIME, "converse", **parameters),
            timeout_s=INFERENCE_TIMEOUT_S,
        )
        if text_of(answer, "stopReason") in _FILTERED:
            return ""
        blocks = items_of(inner(answer, "output", "message"), "content")
        return "".join(text for block in blocks if isinstance(text := block.get("text"), str))
