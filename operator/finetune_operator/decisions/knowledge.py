"""What decisions rest on beside the sweep and its trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from finetune_operator.decisions.costs import CostModel
from finetune_operator.decisions.obstacle import Obstacle
from finetune_operator.decisions.starting import Defaults
from finetune_operator.decisions.status import BaselineKey
from finetune_operator.resources.sweep import Baseline
from finetune_operator.resources.sweep_status import DatasetHashes


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What is known beside the sweep and its trials.

    Attributes:
        costs: What trials are expected to cost.
        baselines: Base models measured since the status was written.
        deletable: Providers (by name) whose fine-tuned models can be deleted.
        datasets: Hashes of the datasets as they are now.
        defaults: What providers take for parameters that are not given.
        output_problem: Why the output could not be written; "" where it could or was not tried.
        obstacle: Why no trial can be launched; None where one can.
    """

    costs: CostModel = field(default_factory=CostModel)
    baselines: Mapping[BaselineKey, Baseline] = field(default_factory=dict)
    deletable: frozenset[str] = frozenset()
    datasets: DatasetHashes | None = None
    defaults: Defaults = field(default_factory=dict)
    output_problem: str = ""
    obstacle: Obstacle | None = None
