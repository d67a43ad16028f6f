"""What a `FinetuneProvider` of type Local and its base models take."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune_providers.base import ModelRules, ParameterRule, ParameterValue
from finetune_providers.errors import PermanentProviderError

DEVICES = ("auto", "cpu", "cuda")

RULES = ModelRules(
    parameters={
        "epochs": ParameterRule(kind="int", minimum=1, maximum=100, default=3),
        "batchSize": ParameterRule(kind="int", minimum=1, maximum=1024, default=8),
        "learningRate": ParameterRule(
            kind="float", minimum=0.0, maximum=1.0, exclusive_minimum=True, default=2e-4
        ),
        "loraRank": ParameterRule(kind="int", minimum=1, maximum=256, default=16),
        "loraAlpha": ParameterRule(kind="int", minimum=1, maximum=1024, default=16),
        "loraLayers": ParameterRule(kind="int", minimum=1),
        "maxLength": ParameterRule(kind="int", minimum=16, maximum=32768, default=512),
    },
    note="loraLayers: adapters on the top N layers only, which is faster on a CPU; the default is all layers",
)


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """The block `spec.local`.

    Attributes:
        device: "auto" takes a GPU where there is one.
        threads: CPU threads of one trial's process.
    """

    device: str = "auto"
    threads: int = 1


def parse_options(options: Mapping[str, object]) -> LocalOptions:
    """Read `spec.local`, whose schema lets no other key pass, and `spec.options`, whose schema lets any pass.

    Raises:
        PermanentProviderError: An unknown key or a value that is not allowed.
    """
    unknown = sorted(set(options) - {"device", "threads"})
    if unknown:
        raise PermanentProviderError(
            f"spec.options.{unknown[0]} is not known; type Local takes spec.local.device and spec.local.threads",
            field=f"spec.options.{unknown[0]}",
        )
    device = options.get("device", "auto")
    if device not in DEVICES:
        raise PermanentProviderError(
            f"spec.local.device is {device!r}; allowed are {', '.join(DEVICES)}", field="spec.local.device"
        )
    threads = options.get("threads", 1)
    if not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= 256:
        raise PermanentProviderError(
            f"spec.local.threads is {threads!r}; allowed is an int from 1 to 256", field="spec.local.threads"
        )
    return LocalOptions(device=str(device), threads=threads)


def check_hyperparameters(values: Mapping[str, ParameterValue]) -> None:
    """Refuse what no base model of this provider takes.

    Raises:
        PermanentProviderError: With the parameter's name as its field.
    """
    for name, value in values.items():
        if name == "baseModel":
            continue
        rule = RULES.parameters.get(name)
        if rule is None:
            allowed = ", ".join(sorted(RULES.parameters))
            raise PermanentProviderError(
                f"{name} is not taken by local models; allowed are {allowed}", field=name
            )
        if not rule.permits(value):
            raise PermanentProviderError(f"{name} is {value!r}; allowed is {rule.describe()}", field=name)


def default_slots(options: LocalOptions) -> int:
    """Trials that may train at once when the resource says nothing: one on a GPU, else what the cores carry."""
    has_gpu = options.device == "cuda" or (options.device == "auto" and Path("/dev/nvidia0").exists())
    if has_gpu:
        return 1
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, cores // options.threads)
