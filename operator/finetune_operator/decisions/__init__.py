"""What to do next, decided on a snapshot: pure functions of (sweep, trials, what is known, now)."""

from finetune_operator.decisions.actions import (
    Action,
    CancelTrial,
    CreateTrial,
    Decision,
    DeleteModel,
    MeasureBaseline,
    WriteOutput,
)
from finetune_operator.decisions.best import best_trial, usable_score
from finetune_operator.decisions.choosing import best_of
from finetune_operator.decisions.costs import CostModel
from finetune_operator.decisions.decide import decide
from finetune_operator.decisions.knowledge import Knowledge
from finetune_operator.decisions.median import MEDIAN_STOPPED
from finetune_operator.decisions.obstacle import Obstacle
from finetune_operator.decisions.space import build_space, point_of
from finetune_operator.decisions.status import (
    data_scopes,
    deleting_status,
    refused_status,
    validating_status,
)

__all__ = [
    "MEDIAN_STOPPED",
    "Action",
    "CancelTrial",
    "CostModel",
    "CreateTrial",
    "Decision",
    "DeleteModel",
    "Knowledge",
    "MeasureBaseline",
    "Obstacle",
    "WriteOutput",
    "best_of",
    "best_trial",
    "build_space",
    "data_scopes",
    "decide",
    "deleting_status",
    "point_of",
    "refused_status",
    "usable_score",
    "validating_status",
]
