"""The contract between the operator and a provider.

A provider turns the operator's canonical words (base model, hyperparameters, dataset) into one company's API.
It keeps no memory of its own that matters: everything it must know again after a restart is at the provider
and found by a job's id or by the key given at its creation. No call may block the event loop.
"""

from finetune_providers.base.config import ProviderConfig
from finetune_providers.base.datasets import Conversation, DatasetFile, Message
from finetune_providers.base.deployments import Deployment, DeploymentState
from finetune_providers.base.jobs import JobRequest, JobSnapshot, JobState, MetricPoint
from finetune_providers.base.models import ModelRules, ParameterRule, ParameterValue
from finetune_providers.base.offering import Capabilities, Offer, OfferState
from finetune_providers.base.provider import InferenceSession, Provider, RunningMetrics

__all__ = [
    "Capabilities",
    "Conversation",
    "DatasetFile",
    "Deployment",
    "DeploymentState",
    "InferenceSession",
    "JobRequest",
    "JobSnapshot",
    "JobState",
    "Message",
    "MetricPoint",
    "ModelRules",
    "Offer",
    "OfferState",
    "ParameterRule",
    "ParameterValue",
    "Provider",
    "ProviderConfig",
    "RunningMetrics",
]
