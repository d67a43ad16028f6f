"""The objects that the operator writes besides statuses: trials, ConfigMaps, events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from finetune_operator.resources import (
    API_VERSION,
    FINALIZER,
    GROUP,
    FinetuneSweep,
    FinetuneTrial,
)
from finetune_operator.resources.labels import SWEEP_LABEL, label_value

INDEX_LABEL = f"{GROUP}/trial-index"
COMPONENT = "finetune-operator"
_MESSAGE_LENGTH = 1024


def trial_manifest(trial: FinetuneTrial, owner: FinetuneSweep) -> dict[str, Any]:
    """A trial to be created.

    It takes nothing from its sweep's labels and annotations: with a GitOps tool's mark on it, the tool would
    take the trial for its own and prune it.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": "FinetuneTrial",
        "metadata": {
            "name": trial.name,
            "labels": {SWEEP_LABEL: label_value(owner.name), INDEX_LABEL: str(trial.spec.index)},
            "finalizers": [FINALIZER],
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": "FinetuneSweep",
                    "name": owner.name,
                    "uid": owner.metadata.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": trial.spec.to_dict(),
    }


def output_manifest(sweep: FinetuneSweep, name: str, data: Mapping[str, str]) -> dict[str, Any]:
    """The ConfigMap that applications read. It has no owner: they go on reading when the sweep is gone."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {SWEEP_LABEL: label_value(sweep.name)}},
        "data": dict(data),
    }


def event_manifest(
    resource: FinetuneSweep | FinetuneTrial,
    reason: str,
    message: str,
    *,
    warning: bool,
    now: datetime,
    instance: str,
) -> dict[str, Any]:
    """A core/v1 Event, as `kubectl describe` shows it.

    Args:
        resource: What it is about.
        reason: Why, in one word.
        message: What happened; what is beyond 1,024 characters is cut, as the API server would refuse it.
        warning: Whether somebody should look.
        now: The time.
        instance: Which of the operator's processes speaks.
    """
    if len(message) > _MESSAGE_LENGTH:
        message = message[: _MESSAGE_LENGTH - 1] + "…"
    time = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = resource.metadata
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{resource.name[:200]}."},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": resource.kind,
            "namespace": metadata.namespace,
            "name": resource.name,
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
        },
        "reason": reason,
        "message": message,
        "type": "Warning" if warning else "Normal",
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": instance,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }
