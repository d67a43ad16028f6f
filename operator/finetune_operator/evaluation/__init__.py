"""Datasets read and checked, and a fine-tuned model scored on them."""

from finetune_operator.evaluation.answer_log import AnswerLog, asked_of
from finetune_operator.evaluation.chat import MAX_LINE_BYTES
from finetune_operator.evaluation.dataset import (
    MAX_DATASET_BYTES,
    DatasetSummary,
    Example,
    check_dataset,
    read_examples,
)
from finetune_operator.evaluation.errors import InvalidDataset
from finetune_operator.evaluation.metrics import load_metrics, score
from finetune_operator.evaluation.scoring import (
    AnswerSample,
    Evaluation,
    RetryPolicy,
    baseline_score,
    evaluate,
    reported_score,
)
from finetune_operator.evaluation.sources import (
    ANYWHERE,
    IN_A_CLUSTER,
    SCHEMES,
    FetchedDataset,
    SourceRules,
    fetch,
    redacted,
)

__all__ = [
    "ANYWHERE",
    "IN_A_CLUSTER",
    "MAX_DATASET_BYTES",
    "MAX_LINE_BYTES",
    "SCHEMES",
    "AnswerLog",
    "AnswerSample",
    "DatasetSummary",
    "Evaluation",
    "Example",
    "FetchedDataset",
    "InvalidDataset",
    "RetryPolicy",
    "SourceRules",
    "asked_of",
    "baseline_score",
    "check_dataset",
    "evaluate",
    "fetch",
    "load_metrics",
    "read_examples",
    "redacted",
    "reported_score",
    "score",
]
