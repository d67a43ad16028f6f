"""The three kinds as typed models: the only code that reads raw manifests."""

from finetune_operator.resources.base_models import BaseModelEntry
from finetune_operator.resources.common import (
    API_VERSION,
    FINALIZER,
    GROUP,
    VERSION,
    Condition,
    ObjectMeta,
    OwnerReference,
    Resource,
)
from finetune_operator.resources.parsing import RESOURCE_KINDS, parse_resource
from finetune_operator.resources.provider import FinetuneProvider, ProviderSpec
from finetune_operator.resources.sweep import (
    METRICS,
    REPORTED_METRICS,
    BestTrial,
    Candidate,
    DataSource,
    EvaluationSource,
    FinetuneSweep,
    Limits,
    ParameterSpec,
    SweepSpec,
    SweepStatus,
)
from finetune_operator.resources.trial import (
    TERMINAL_PHASES,
    CreateJournal,
    FinetuneTrial,
    ServingJournal,
    TrialPhase,
    TrialSpec,
    TrialStatus,
)
from finetune_operator.resources.yaml_io import dump_yaml, load_yaml, load_yaml_documents

__all__ = [
    "API_VERSION",
    "FINALIZER",
    "GROUP",
    "METRICS",
    "REPORTED_METRICS",
    "RESOURCE_KINDS",
    "TERMINAL_PHASES",
    "VERSION",
    "BaseModelEntry",
    "BestTrial",
    "Candidate",
    "Condition",
    "CreateJournal",
    "DataSource",
    "EvaluationSource",
    "FinetuneProvider",
    "FinetuneSweep",
    "FinetuneTrial",
    "Limits",
    "ObjectMeta",
    "OwnerReference",
    "ParameterSpec",
    "ProviderSpec",
    "Resource",
    "ServingJournal",
    "SweepSpec",
    "SweepStatus",
    "TrialPhase",
    "TrialSpec",
    "TrialStatus",
    "dump_yaml",
    "load_yaml",
    "load_yaml_documents",
    "parse_resource",
]
