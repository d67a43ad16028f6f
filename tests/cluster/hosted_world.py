"""A namespace with a real operator in it, and companies' servers in place of the companies.

The manifests are the examples, as a person copies them: what differs is where the provider's services are, how often
they are asked, and the names of a project or a bucket that the server knows.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.operator_process import Team
from tests.fakes.azure_openai_server import SUBSCRIPTION, AzureOpenAIServer
from tests.fakes.bedrock_server import BUCKET as S3_BUCKET
from tests.fakes.bedrock_server import KEY_ID, ROLE, BedrockServer
from tests.fakes.bedrock_server import REGION as AWS_REGION
from tests.fakes.cohere_server import CohereServer
from tests.fakes.google_ai_studio_server import GoogleAIStudioServer
from tests.fakes.hosted import HostedCompany
from tests.fakes.openai_server import OpenAIServer
from tests.fakes.vertex_ai_server import BUCKET as GCS_BUCKET
from tests.fakes.vertex_ai_server import PROJECT, VertexAIServer
from tests.fakes.vertex_ai_server import REGION as GCP_REGION

from finetune_operator.cluster.access import ClusterAccess
from finetune_operator.cluster.operator import run_operator
from finetune_operator.cluster.store import KubeStore
from finetune_operator.lifecycle.accounts import ProviderFactory
from finetune_operator.lifecycle.engine import Engine
from finetune_operator.resources import load_yaml_documents
from finetune_providers import registry

Manifest = dict[str, Any]

EXAMPLES = Path(__file__).parents[2] / "examples"
SPEED = 500.0
"""The companies' clocks run so many times as fast as ours: a job of 100 s takes a fifth of a second."""
QUICK = {"pollIntervalSeconds": "0.1"}


@dataclass(frozen=True)
class Company:
    """How an example's provider is led to a server of the tests.

    Attributes:
        server: Makes the server.
        secret: The Secret's values.
        spec: What is changed in the FinetuneProvider's spec.
    """

    server: Callable[..., HostedCompany]
    secret: Callable[[Any], Mapping[str, str]]
    spec: Callable[[Any], Mapping[str, Any]] = field(default=lambda server: {"endpoint": server.url})


COMPANIES: Mapping[str, Company] = {
    "OpenAI": Company(
        OpenAIServer,
        lambda server: {"OPENAI_API_KEY": server.secret},
        lambda server: {"endpoint": f"{server.url}/v1"},
    ),
    "AzureOpenAI": Company(
        AzureOpenAIServer,
        lambda server: {"AZURE_OPENAI_API_KEY": server.secret},
        lambda server: {
            "endpoint": server.url,
            "endpoints": {"management": server.url},
            "azureOpenAI": {"subscription": SUBSCRIPTION, "resourceGroup": "ml", "account": "acme-openai"},
        },
    ),
    "VertexAI": Company(
        VertexAIServer,
        lambda server: {"GOOGLE_APPLICATION_CREDENTIALS_JSON": server.key},
        lambda server: {
            "endpoint": server.url,
            "project": PROJECT,
            "region": GCP_REGION,
            "dataUri": f"gs://{GCS_BUCKET}/tuning",
        },
    ),
    "GoogleAIStudio": Company(GoogleAIStudioServer, lambda server: {"GEMINI_API_KEY": server.secret}),
    "Bedrock": Company(
        BedrockServer,
        lambda server: {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": server.secret},
        lambda server: {
            "endpoint": server.url,
            "region": AWS_REGION,
            "dataUri": f"s3://{S3_BUCKET}/tuning",
            "bedrock": {"roleArn": ROLE},
        },
    ),
    "Cohere": Company(CohereServer, lambda server: {"CO_API_KEY": server.secret}),
}


@dataclass
class Example:
    """An example's manifests, led to servers.

    Attributes:
        sweep: Name of its sweep.
        manifests: What is applied.
        servers: By provider type.
    """

    sweep: str
    manifests: list[Manifest]
    servers: dict[str, HostedCompany]

    @property
    def server(self) -> HostedCompany:
        """The server of an example with one provider."""
        (server,) = self.servers.values()
        return server

    @property
    def sweep_manifest(self) -> Manifest:
        return next(each for each in self.manifests if each["kind"] == "FinetuneSweep")

    @property
    def provider_manifest(self) -> Manifest:
        return next(each for each in self.manifests if each["kind"] == "FinetuneProvider")

    def close(self) -> None:
        """Stop the servers."""
        for server in self.servers.values():
            server.__exit__(None, None, None)


def load_example(file: str, *, companies: Mapping[str, Company] = COMPANIES) -> Example:
    """Read an example and start a server for each of its providers."""
    manifests = load_yaml_documents((EXAMPLES / file).read_text(encoding="utf-8"))
    servers: dict[str, HostedCompany] = {}
    secrets: list[Manifest] = []
    for manifest in manifests:
        if manifest["kind"] != "FinetuneProvider":
            continue
        spec = manifest["spec"]
        company = companies[spec["type"]]
        server = servers[spec["type"]] = company.server(speed=SPEED).__enter__()
        server.exam = _answers(manifests)
        spec.update(copy.deepcopy(dict(company.spec(server))))
        spec["options"] = {**spec.get("options", {}), **QUICK}
        if "requestsPerMinute" in spec:
            spec["requestsPerMinute"] = 6000
        secrets.append(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": spec["credentialsSecretRef"]["name"]},
                "stringData": dict(company.secret(server)),
            }
        )
    sweep = next(each for each in manifests if each["kind"] == "FinetuneSweep")
    return Example(sweep["metadata"]["name"], [*secrets, *manifests], servers)


def _answers(manifests: list[Manifest]) -> dict[str, str]:
    """What the evaluation set asks, with the answers."""
    sweep = next(each for each in manifests if each["kind"] == "FinetuneSweep")
    data = next(each for each in manifests if each["kind"] == "ConfigMap")["data"]
    key = sweep["spec"]["dataset"]["evaluation"]["configMapRef"]["key"]
    conversations = [json.loads(line)["messages"] for line in data[key].splitlines()]
    return {messages[-2]["content"]: messages[-1]["content"] for messages in conversations}


class HostedWorld:
    """The operator, which can be stopped and started again, and the people who apply manifests.

    Attributes:
        team: The people.
        make_provider: Makes providers, from the next start on.
    """

    def __init__(self, team: Team, access: ClusterAccess, *, namespace: str, work_dir: Path) -> None:
        self.team = team
        self.make_provider: ProviderFactory = registry.create
        self._access = access
        self._namespace = namespace
        self._work_dir = work_dir
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the operator, with the providers that a person gets."""
        self._stop = asyncio.Event()
        operator = run_operator(
            self._engine, access=self._access, stop=self._stop, namespaces=(self._namespace,)
        )
        self._task = asyncio.ensure_future(operator)

    async def stop(self) -> None:
        """Stop it in order."""
        self._stop.set()
        if self._task is not None:
            await self._task
        self._task = None

    async def crash(self) -> None:
        """End it without any order."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None

    def _engine(self, store: KubeStore) -> Engine:
        return Engine(store=store, work_dir=self._work_dir, make_provider=self.make_provider)
