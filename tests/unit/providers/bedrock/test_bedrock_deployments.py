"""What costs by the hour is never left behind, and never bought twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.fakes.bedrock_server import BedrockServer
from tests.fakes.http_server import Fault, refused
from tests.unit.providers.bedrock.conftest import NOVA, Connect, Write
from tests.unit.providers.bedrock.test_bedrock_models import HELLO, LLAMA, NAME, tuned

from finetune_providers.base import DeploymentState, Provider, ProviderConfig
from finetune_providers.bedrock import create
from finetune_providers.bedrock.models import FORGOTTEN_AFTER_S
from finetune_providers.errors import PermanentProviderError, TransientProviderError


async def test_throughput_is_given_back_though_the_other_kind_may_not_be_deleted(
    server: BedrockServer, connect: Connect, write: Write
) -> None:
    provider = connect(options={"provisionedThroughput": "Allow"})
    model = await tuned(server, provider, write, LLAMA)
    await provider.deploy(model, name=NAME)
    server.clock.advance(server.deploy_s)
    server.denied = {"undeploy"}
    await provider.undeploy(NAME)
    assert not server.deployments


@pytest.mark.parametrize("model", [NOVA, LLAMA])
async def test_a_deletion_that_is_refused_in_any_words_while_it_is_being_made_is_tried_again(
    server: BedrockServer, connect: Connect, write: Write, model: str
) -> None:
    provider = connect(options={"provisionedThroughput": "Allow"})
    await provider.deploy(await tuned(server, provider, write, model), name=NAME)
    operation = "undeploy" if model == NOVA else "unprovision"
    server.fault(operation, refused(400, code="ValidationException"))
    with pytest.raises(TransientProviderError):
        await provider.undeploy(NAME)
    server.clock.advance(server.deploy_s)
    await provider.undeploy(NAME)
    assert not server.deployments


async def test_a_name_that_aws_does_not_take_for_one_of_its_own_is_gone(
    server: BedrockServer, provider: Provider
) -> None:
    for operation in ("undeploy", "unprovision", "deployment", "provisioned"):
        server.always(operation, refused(400, code="ValidationException"))
    await provider.undeploy(NAME)


async def test_a_deletion_that_is_forbidden_is_an_error(
    server: BedrockServer, provider: Provider, write: Write
) -> None:
    await provider.deploy(await tuned(server, provider, write), name=NAME)
    server.clock.advance(server.deploy_s)
    server.denied = {"undeploy"}
    with pytest.raises(PermanentProviderError, match="not authorized"):
        await provider.undeploy(NAME)


async def test_throughput_that_runs_is_never_passed_over_whatever_the_resource_says_by_now(
    server: BedrockServer, connect: Connect, write: Write
) -> None:
    allowed = connect(options={"provisionedThroughput": "Allow"})
    await allowed.deploy(await tuned(server, allowed, write, LLAMA), name=NAME)
    server.clock.advance(server.deploy_s)
    server.denied = {"unprovision"}
    with pytest.raises(PermanentProviderError, match="not authorized"):
        await connect(options={"provisionedThroughput": "Never"}).undeploy(NAME)


@pytest.mark.parametrize("code", ["ValidationException", "ConflictException", "Whatever"])
async def test_a_taken_name_is_recognised_in_any_words(
    server: BedrockServer, provider: Provider, write: Write, code: str
) -> None:
    """Nothing documents AWS's words for it, and a paid model would be lost over them."""
    model = await tuned(server, provider, write)
    await provider.deploy(model, name=NAME)
    server.fault("deployment", refused(404))  # not to be seen yet
    server.fault("deploy", refused(400, code=code))
    assert (await provider.deploy(model, name=NAME)).native_state == "Creating"


async def test_a_deployment_that_is_refused_and_not_there_is_refused(
    server: BedrockServer, provider: Provider, write: Write
) -> None:
    model = await tuned(server, provider, write)
    server.fault("deploy", refused(400, code="ValidationException"))
    with pytest.raises(PermanentProviderError):
        await provider.deploy(model, name=NAME)


@pytest.mark.parametrize("base", [NOVA, LLAMA])
async def test_a_model_that_is_still_being_made_is_deployed_later(
    server: BedrockServer, connect: Connect, write: Write, base: str
) -> None:
    """AWS deploys a model that is Active; its job may have ended before."""
    provider = connect(options={"provisionedThroughput": "Allow"})
    model = await tuned(server, provider, write, base)
    server.models_in_the_making.add(model)
    assert (await provider.deploy(model, name=NAME)).state is DeploymentState.CREATING
    assert not server.deployments
    server.models_in_the_making.clear()
    assert (await provider.deploy(model, name=NAME)).native_state == "Creating"


async def test_a_refusal_stands_where_the_model_may_not_be_looked_at(
    server: BedrockServer, provider: Provider, write: Write
) -> None:
    model = await tuned(server, provider, write)
    server.models_in_the_making.add(model)
    server.denied = {"model"}
    with pytest.raises(PermanentProviderError, match="not in the Active state"):
        await provider.deploy(model, name=NAME)


async def test_throughput_can_be_bought_again_under_the_name_of_one_that_was_given_back(
    server: BedrockServer, connect: Connect, config: Callable[..., ProviderConfig], write: Write
) -> None:
    """A restore may bring back a trial that was evaluated: AWS still knows the token of its first deployment."""
    provider = connect(options={"provisionedThroughput": "Allow"})
    model = await tuned(server, provider, write, LLAMA)
    await provider.deploy(model, name=NAME)
    server.clock.advance(server.deploy_s)
    await provider.undeploy(NAME)
    again = create(  # another process
        config(options={"provisionedThroughput": "Allow"}), clock=server.clock.elapsed
    )
    for _ in range(2):
        assert (await again.deploy(model, name=NAME)).state is DeploymentState.CREATING
        assert not server.deployments
        server.clock.advance(FORGOTTEN_AFTER_S / 2 + 1)
    assert (await again.deploy(model, name=NAME)).native_state == "Creating"
    server.clock.advance(server.deploy_s)
    active = await again.deploy(model, name=NAME)
    assert active.state is DeploymentState.ACTIVE
    async with again.inference(active.model) as session:
        assert await session.answer([HELLO], max_output_tokens=4) == ["3"]
    assert len(server.deployments) == 1
    await again.aclose()


async def test_failing_calls_are_no_reason_to_buy_throughput_with_another_token(
    server: BedrockServer, config: Callable[..., ProviderConfig], write: Write
) -> None:
    provider = create(config(options={"provisionedThroughput": "Allow"}), clock=server.clock.elapsed)
    model = await tuned(server, provider, write, LLAMA)
    server.fault("provision", Fault(takes_effect=True, status=500), refused(503), refused(503))
    server.fault("provisioned", *([refused(404)] * 5))
    for _ in range(3):
        with pytest.raises(TransientProviderError):
            await provider.deploy(model, name=NAME)
        server.clock.advance(FORGOTTEN_AFTER_S + 1)
    await provider.deploy(model, name=NAME)
    assert {body["clientRequestToken"] for body in server.bodies("provision")} == {NAME}
    assert len(server.deployments) == 1
    await provider.aclose()


@pytest.mark.parametrize("model", [NOVA, LLAMA])
async def test_a_deployment_that_is_long_not_to_be_seen_is_still_only_one(
    server: BedrockServer, connect: Connect, write: Write, model: str
) -> None:
    provider = connect(options={"provisionedThroughput": "Allow"})
    tuned_model = await tuned(server, provider, write, model)
    look = "deployment" if model == NOVA else "provisioned"
    server.fault(look, *([refused(404)] * 6))
    for _ in range(3):
        assert (await provider.deploy(tuned_model, name=NAME)).state is DeploymentState.CREATING
    assert len(server.deployments) == 1


async def test_a_throughput_call_without_an_answer_buys_once(
    server: BedrockServer, connect: Connect, write: Write
) -> None:
    provider = connect(options={"provisionedThroughput": "Allow"})
    model = await tuned(server, provider, write, LLAMA)
    server.fault("provision", Fault(takes_effect=True, status=500))
    server.fault("provisioned", refused(404), refused(404), refused(404))
    with pytest.raises(TransientProviderError):
        await provider.deploy(model, name=NAME)
    await provider.deploy(model, name=NAME)
    assert len(server.deployments) == 1
