"""The provider Local with a model of a few thousand weights: trainings that are real processes."""

from __future__ import annotations

from pathlib import Path

from tests.contract.local_sweep import RATES, Manifest, config_map, provider, secret, sweep
from tests.contract.tiny_model import write_tiny_model

LOCAL = "Local"


def local_manifests(model: Path) -> list[Manifest]:
    """A sweep over learning rates, and all that it needs; the base model is written into a folder."""
    write_tiny_model(model)
    its_sweep = sweep("local-rates", model, parameters=RATES, method="Random", metric="accuracy")
    return [secret(), config_map(), provider(jobs=2), its_sweep]
