"""A sweep to be planned: its documents, and a provider that can be asked."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from tests.contract.store_contract import MANIFESTS, SECRET_VALUES
from tests.unit.cli.conftest import Cli

from finetune_operator.resources import (
    dump_yaml,
)
from finetune_providers.base import Capabilities, DatasetFile, ModelRules, ParameterRule, ProviderConfig
from finetune_providers.errors import PermanentProviderError

RULES = ModelRules(
    {
        "epochs": ParameterRule("int", minimum=1, maximum=10, default=3),
        "learningRate": ParameterRule("float", minimum=0, exclusive_minimum=True, maximum=1),
    }
)


EXAMPLE = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "greeting"}]}


class TalkingProvider:
    """A provider that can be asked but sells nothing: it has no `submit`."""

    capabilities = Capabilities(
        finds_by_key=True,
        idempotent_create=True,
        lookup_window_s=0.0,
        metrics=frozenset(),
        poll_interval_s=1.0,
        deletes_models=True,
    )

    def __init__(self, config: ProviderConfig) -> None:
        if config.type != "Local":
            raise PermanentProviderError(f"provider type {config.type!r} is not known", field="spec.type")
        self.credentials = config.credentials

    def model_rules(self, base_model: str) -> ModelRules | None:
        return RULES if base_model.startswith("smollm2") else None

    def model_names(self) -> tuple[str, ...]:
        return ()

    async def check_data(
        self, base_model: str, *, training: DatasetFile, validation: DatasetFile | None
    ) -> None:
        """Any dataset will do."""

    async def check(self, base_models: Collection[str]) -> None:
        assert self.credentials == SECRET_VALUES

    async def aclose(self) -> None:
        """Nothing to close."""


def documents_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """Documents by file name, to be edited and written with `write`; the dataset is a real one."""
    provider = {**MANIFESTS[1], "spec": {**MANIFESTS[1]["spec"], "prices": [price("3.00")]}}
    data = {"train.jsonl": "".join(json.dumps(EXAMPLE) + "\n" for _ in range(20))}
    return {
        "sweep.yaml": manifest,
        "provider.yaml": provider,
        "secret.yaml": MANIFESTS[2],
        "data.yaml": {**MANIFESTS[3], "data": data},
    }


def price(per_million: str) -> dict[str, str]:
    return {"baseModel": "*", "trainingPerMillionTokens": per_million, "currency": "USD"}


def plan(
    cli: Cli, files: dict[str, Any], *options: str, make_provider: Any = TalkingProvider, **seams: Any
) -> Any:
    for name, document in files.items():
        (cli.folder / name).write_text(dump_yaml(document))
    return cli("plan", *files, *options, make_provider=make_provider, **seams)
