"""A cluster full of sweeps that have ended: what an operator finds that is started anew."""

from __future__ import annotations

import asyncio

from tests.benchmarks.scale.cases import API, Case, Raw, sweep_manifest

from controlplane.plane import ControlPlane
from finetune_operator.cluster.access import ClusterAccess
from finetune_operator.cluster.client import SWEEPS, TRIALS, KubeClient

_AT_ONCE = 8
_AT = "2026-11-24T12:00:00Z"
_READY = {
    "type": "Ready",
    "status": "True",
    "reason": "Succeeded",
    "message": "accuracy is 0.75",
    "observedGeneration": 1,
    "lastTransitionTime": _AT,
}
_POINTS = 40
"""Steps of training that each trial has metrics of."""


def fill(plane: ControlPlane, namespace: str, case: Case) -> None:
    """Create a case's sweeps and trials as they are when all is over."""
    asyncio.run(_fill(plane, namespace, case))


async def _fill(plane: ControlPlane, namespace: str, case: Case) -> None:
    client = await KubeClient.connect(ClusterAccess(kubeconfig=plane.kubeconfig))
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(number: int) -> None:
        async with places:
            sweep = await client.create(SWEEPS, namespace, sweep_manifest(case, number))
            name = sweep["metadata"]["name"]
            ended = {"observedGeneration": 1, "phase": "Succeeded", "conditions": [_READY]}
            await client.patch(SWEEPS, namespace, name, body={"status": ended}, subresource="status")
            for index in range(case.trials):
                await client.create(TRIALS, namespace, _trial(case, sweep, index))
                status = {"status": _status(f"ftjob-{number:012d}{index:012d}")}
                await client.patch(TRIALS, namespace, f"{name}-{index}", body=status, subresource="status")

    try:
        await asyncio.gather(*(one(number) for number in range(case.sweeps)))
    finally:
        await client.close()


def _trial(case: Case, sweep: Raw, index: int) -> Raw:
    name = sweep["metadata"]["name"]
    owner = {"apiVersion": API, "kind": "FinetuneSweep", "name": name, "uid": sweep["metadata"]["uid"]}
    candidate = sweep["spec"]["candidates"][0]
    return {
        "apiVersion": API,
        "kind": "FinetuneTrial",
        "metadata": {
            "name": f"{name}-{index}",
            "labels": {"finetune-operator.dev/sweep": name, "finetune-operator.dev/trial-index": str(index)},
            "ownerReferences": [owner],
        },
        "spec": {
            "sweepRef": {"name": name},
            "index": index,
            "candidate": candidate["name"],
            "providerRef": candidate["providerRef"],
            "baseModel": candidate["baseModels"][0],
            "hyperparameters": {"epochs": 1 + index % 10, "learningRateMultiplier": 0.2 + index / 7},
            "runKey": f"ft-{sweep['metadata']['uid'][:8]}{index:012d}",
            "origin": "random",
            "estimatedCost": "0.01",
        },
    }


def _status(job: str) -> Raw:
    series = [
        {"step": step, "values": {"trainLoss": 2.0 / step, "trainTokenAccuracy": 1 - 0.7 / step}}
        for step in range(1, _POINTS + 1)
    ]
    return {
        "observedGeneration": 1,
        "phase": "Succeeded",
        "reason": "Succeeded",
        "message": "accuracy is 0.75",
        "create": {
            "attempt": 1,
            "state": "Succeeded",
            "key": f"ft-{job[-20:]}",
            "externalId": job,
            "at": _AT,
        },
        "jobState": "succeeded",
        "fineTunedModel": f"ft:gpt-4.1-mini-2025-04-14:acme:{job}",
        "score": 0.75,
        "scoreText": "0.75",
        "metrics": {"accuracy": 0.75, "macroF1": 0.7},
        "series": series,
        "trainedTokens": 1800,
        "cost": "0.01",
        "conditions": [_READY],
        "startedAt": _AT,
        "finishedAt": _AT,
    }
