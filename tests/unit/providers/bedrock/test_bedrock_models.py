from __future__ import annotations

import pytest
from tests.fakes.bedrock_server import BedrockServer
from tests.fakes.http_server import Fault, refused
from tests.unit.providers.bedrock.conftest import KEY, NOVA, Connect, Write

from finetune_providers.base import DeploymentState, JobRequest, Provider
from finetune_providers.errors import (
    PermanentProviderError,
    ProviderError,
    QuotaExceeded,
    TransientProviderError,
    UnexpectedResponse,
)

LLAMA = "meta.llama3-1-8b-instruct-v1:0:128k"
NAME = "ft-0123456789abcdef0123-serve"
HELLO = [{"role": "user", "content": "say 3"}]


async def tuned(server: BedrockServer, provider: Provider, write: Write, base: str = NOVA) -> str:
    """A fine-tuned model."""
    training = await provider.upload(write(100), base_model=base)
    job = await provider.submit(JobRequest(KEY, base, {"epochs": 1}, training))
    server.finish_training()
    model = (await provider.observe([job.job_id]))[job.job_id].fine_tuned_model
    assert model is not None
    return model


async def test_a_model_is_deployed_once_and_answers_by_its_deployment(
    server: BedrockServer, provider: Provider, write: Write
) -> None:
    model = await tuned(server, provider, write)
    assert (await provider.deploy(model, name=NAME)).state is DeploymentState.CREATING
    assert (await provider.deploy(model, name=NAME)).native_state == "Creating"
    server.clock.advance(server.deploy_s)
    active = await provider.deploy(model, name=NAME)
    assert active.state is DeploymentState.ACTIVE
    assert server.count("deploy") == 1
    (body,) = server.bodies("deploy")
    assert body.keys() == {"modelDeploymentName", "modelArn", "clientRequestToken"}
    assert (body["modelDeploymentName"], body["modelArn"]) == (NAME, model)
    async with provider.inference(active.model) as session:
        assert await session.answer([HELLO, HELLO], max_output_tokens=4) == ["3", "3"]


async def test_a_deployment_can_be_made_again_after_it_was_deleted(
    server: BedrockServer, provider: Provider, write: Write
) -> None:
    model = await tuned(server, provider, write)
    first = await provider.deploy(model, name=NAME)
    await provider.undeploy(NAME)
    server.clock.advance(1)
    second = await provider.deploy(model, name=NAME)
    assert second.state is DeploymentState.CREATING
    assert first.model != second.model


async def test_a_deploy_call_without_an_answer_is_safe_to_repeat(
    server: BedrockServer, provider: Provider, write: Write
) -> None:
    model = await tuned(server, provider, write)
    server.fault("deploy", Fault(takes_effect=True, status=500))
    with pytest.raises(TransientProviderError):
        await provider.deploy(model, name=NAME)
    await provider.deploy(model, name=NAME)
    assert len(server.deployments) == 1


async def test_a_name_that_was_taken_in_between_is_looked_up(
    server: BedrockServer, provider: Provider, write: Write
) -> None:
    model = await tuned(server, provider, write)
    await provider.deploy(model, name=NAME)
    server.fault("deployment", refused(404))  # not to be seen yet
    assert (await provider.deploy(model, name=NAME)).native_state == "Creating"
    assert server.count("deploy") == 2
    assert len(server.deployments) == 1


async def test_a_deployment_that_is_not_to_be_seen_yet_is_being_made(
    server: BedrockServer, provider: Provider, write: Write
) -> None:
    model = await tuned(server, provider, write)
    server.always("deployment", refused(404))
    assert (await provider.deploy(model, name=NAME)).state is DeploymentState.CREATING


async def test_a_deployment_that_fails_says_why(
    server: BedrockServer, provider: Provider, write: Write
) -> None:
    model = await tuned(server, provider, write)
    server.next_deployment_fails = True
    failed = await provider.deploy(model, name=NAME)
    assert (failed.state, failed.message) == (DeploymentState.FAILED, "there are no machines")


async def test_a_name_of_another_model_s_deployment_is_not_used(
    server: BedrockServer, provider: Provider, write: Write
) -> None:
    model = await tuned(server, provider, write)
    await provider.deploy(model, name=NAME)
    with pytest.raises(PermanentProviderError, match="of another model"):
        await provider.deploy(model[:-1] + "0", name=NAME)


async def test_a_deployment_beyond_a_quota_waits(
    server: BedrockServer, provider: Provider, write: Write
) -> None:
    model = await tuned(server, provider, write)
    server.fault("deploy", refused(400, code="ServiceQuotaExceededException"))
    with pytest.raises(QuotaExceeded):
        await provider.deploy(model, name=NAME)


async def test_a_model_in_use_is_deleted_later(
    server: BedrockServer, provider: Provider, write: Write
) -> None:
    model = await tuned(server, provider, write)
    await provider.deploy(model, name=NAME)
    with pytest.raises(TransientProviderError, match="in use"):
        await provider.delete_model(model)
    await provider.undeploy(NAME)
    await provider.delete_model(model)


# -- by the hour ------------------------------------------------------------------------------------------------


async def test_a_model_that_costs_by_the_hour_is_refused_until_somebody_says_so(
    server: BedrockServer, provider: Provider, connect: Connect, write: Write
) -> None:
    with pytest.raises(
        PermanentProviderError, match=r"billed by the hour; set .*provisionedThroughput"
    ) as caught:
        await provider.check([LLAMA])
    assert caught.value.field == "baseModels"
    never = connect(options={"provisionedThroughput": "Never"})
    await never.check([LLAMA])
    model = await tuned(server, never, write, LLAMA)
    with pytest.raises(PermanentProviderError, match='set it to "Allow"'):
        await never.deploy(model, name=NAME)
    assert server.count("provision") == 0


async def test_throughput_is_bought_by_the_hour_once_and_given_back(
    server: BedrockServer, connect: Connect, write: Write
) -> None:
    provider = connect(options={"provisionedThroughput": "Allow"})
    await provider.check([LLAMA])
    model = await tuned(server, provider, write, LLAMA)
    assert (await provider.deploy(model, name=NAME)).state is DeploymentState.CREATING
    assert server.bodies("provision") == [
        {"provisionedModelName": NAME, "modelId": model, "modelUnits": 1, "clientRequestToken": NAME}
    ]
    with pytest.raises(TransientProviderError):  # it cannot be deleted while it is being created
        await provider.undeploy(NAME)
    server.clock.advance(server.deploy_s)
    active = await provider.deploy(model, name=NAME)
    assert active.native_state == "InService"
    async with provider.inference(active.model) as session:
        assert await session.answer([HELLO], max_output_tokens=4) == ["3"]
    await provider.undeploy(NAME)
    await provider.undeploy(NAME)
    assert not server.deployments
    assert server.count("provision") == 1


async def test_who_may_not_buy_throughput_need_not_be_allowed_to_give_it_back(
    server: BedrockServer, provider: Provider, connect: Connect
) -> None:
    server.denied = {"unprovision", "provisioned"}
    await provider.undeploy(NAME)
    with pytest.raises(PermanentProviderError, match="not authorized"):
        await connect(options={"provisionedThroughput": "Allow"}).undeploy(NAME)


# -- answers ----------------------------------------------------------------------------------------------------


async def test_a_base_model_answers_under_the_name_of_its_catalog(
    server: BedrockServer, provider: Provider
) -> None:
    async with provider.inference(NOVA) as session:
        await session.answer(
            [[{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]],
            max_output_tokens=7,
        )
    (request,) = [request for request in server.requests if request.operation == "converse"]
    assert request.path == "/model/amazon.nova-lite-v1:0/converse"
    assert request.json == {
        "system": [{"text": "be brief"}],
        "messages": [{"role": "user", "content": [{"text": "hello"}]}],
        "inferenceConfig": {"maxTokens": 7, "temperature": 0.0},
    }


@pytest.mark.parametrize("reason", ["content_filtered", "guardrail_intervened"])
async def test_an_answer_that_is_filtered_is_empty(
    server: BedrockServer, provider: Provider, reason: str
) -> None:
    server.stop_reason = reason
    async with provider.inference(NOVA) as session:
        assert await session.answer([HELLO], max_output_tokens=4) == [""]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"stopReason": "end_turn", "output": {"message": {"content": []}}}', ""),
        (b'{"stopReason": "max_tokens", "output": {"message": {"content": [{"text": ""}]}}}', ""),
        (
            b'{"stopReason": "end_turn", "output": {"message": {"content": [{"text": ""}, {"text": "a"}]}}}',
            "a",
        ),
        (
            b'{"stopReason": "max_tokens", "output": {"message": {"content": '
            b'[{"reasoningContent": {"reasoningText": {"text": "hm"}}}, {"text": "a"}, {"text": "b"}]}}}',
            "ab",
        ),
    ],
)
async def test_texts_are_joined_and_thoughts_left_out(
    server: BedrockServer, provider: Provider, body: bytes, said: str
) -> None:
    server.fault("converse", Fault(body=body))
    async with provider.inference(NOVA) as session:
        assert await session.answer([HELLO], max_output_tokens=4) == [said]


@pytest.mark.parametrize(
    "body", [b"{}", b'{"stopReason": "end_turn"}', b'{"stopReason": "end_turn", "output": []}']
)
async def test_an_answer_without_a_message_is_unexpected(
    server: BedrockServer, provider: Provider, body: bytes
) -> None:
    server.fault("converse", Fault(body=body))
    async with provider.inference(NOVA) as session:
        with pytest.raises(UnexpectedResponse):
            await session.answer([HELLO], max_output_tokens=4)


async def test_a_fine_tuned_model_does_not_answer_without_a_deployment(
    server: BedrockServer, provider: Provider, write: Write
) -> None:
    model = await tuned(server, provider, write)
    with pytest.raises(ProviderError, match="only through a deployment"):
        async with provider.inference(model):
            pass
