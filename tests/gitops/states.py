"""The three kinds in every state that the operator gives them, with what Argo CD and Flux are to make of each.

The conditions are the operator's own: `decide` and the functions beside it are asked, so that a new state or reason
is seen here. `python -m tests.gitops.states` writes these as Argo CD's test data; a test tells when it is not fresh.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.unit.decisions.builders import NOW, a_sweep, a_trial

from finetune_operator.decisions import Knowledge, Obstacle, conditions, decide
from finetune_operator.decisions.status import refused_status, validating_status
from finetune_operator.errors import Problem
from finetune_operator.lifecycle import transitions
from finetune_operator.lifecycle.provider_life import _offered
from finetune_operator.lifecycle.resolution import ANNOTATION
from finetune_operator.resources import (
    API_VERSION,
    Condition,
    FinetuneSweep,
    FinetuneTrial,
    TrialPhase,
    dump_yaml,
)
from finetune_operator.resources.sweep import Baseline
from finetune_providers.base import Offer, OfferState

CUSTOMIZATIONS = (
    Path(__file__).parents[2] / "examples" / "argocd" / "resource_customizations" / "finetune-operator.dev"
)
Manifest = dict[str, Any]
_MEASURED = {("acme", "tiny"): Baseline(provider="acme", base_model="tiny", score=0.1)}
_NEW = {"observedGeneration": -1}
"""The status that the API server gives to what nobody has seen yet."""


@dataclass(frozen=True, slots=True)
class State:
    """A state of a resource.

    Attributes:
        name: Its name, and its file's.
        manifest: The resource.
        health: Argo CD's health status.
        message: Argo CD's message.
        kstatus: Flux's status.
    """

    name: str
    manifest: Manifest
    health: str
    message: str
    kstatus: str

    @property
    def kind(self) -> str:
        return str(self.manifest["kind"])


def states() -> Iterator[State]:
    """Every state of every kind."""
    yield from _sweeps()
    yield from _trials()
    yield from _providers()


def _unseen(manifest: Manifest, gone: str) -> Iterator[State]:
    """What comes before the operator has looked, and after a person asked for the end."""
    waiting = "Not seen by the operator yet"
    fresh = {**manifest, "metadata": {**manifest["metadata"], "generation": 1}, "status": _NEW}
    yield State("new", fresh, "Progressing", waiting, "InProgress")
    edited = {
        **manifest,
        "metadata": {**manifest["metadata"], "generation": manifest["metadata"]["generation"] + 1},
    }
    yield State("edited", edited, "Progressing", waiting, "InProgress")
    times = {"deletionTimestamp": "2026-11-24T12:30:00Z", "finalizers": ["finetune-operator.dev/cleanup"]}
    deleted = {**manifest, "metadata": {**manifest["metadata"], **times}}
    yield State("deleting", deleted, "Progressing", gone, "Terminating")


def _told(name: str, manifest: Manifest, health: str, kstatus: str) -> State:
    """A state whose message is that of the condition Ready, which Stalled repeats."""
    ready = next(each for each in manifest["status"]["conditions"] if each["type"] == "Ready")
    return State(name, manifest, health, f"{ready['reason']}: {ready['message']}", kstatus)


def _sweeps() -> Iterator[State]:
    for name, sweep in _decided():
        health = {"suspended": "Suspended", "succeeded": "Healthy"}.get(name, "Progressing")
        state = _told(name, sweep.to_dict(), health, "Current" if name == "succeeded" else "InProgress")
        yield state
        if name == "searching":
            yield from _unseen(state.manifest, "Its jobs are being cancelled")
    for name, sweep in _stalled():
        yield _told(name, sweep.to_dict(), "Degraded", "Failed")


def _decided() -> Iterator[tuple[str, FinetuneSweep]]:
    going = [a_trial(0, TrialPhase.SUCCEEDED, 0.8), a_trial(1, TrialPhase.TRAINING)]
    two = {"limits": {"maxTrials": 2}}
    validating = a_sweep()
    status = validating_status(validating, "Validating", "the datasets are being read", now=NOW)
    yield "validating", validating.model_copy(update={"status": status})
    yield "searching", _decide(a_sweep(), going)
    yield "suspended", _decide(a_sweep(suspend=True), going)
    yield "finishing", _decide(a_sweep(**two), going)
    yield "succeeded", _decide(a_sweep(**two), [going[0], a_trial(1, TrialPhase.SUCCEEDED, 0.9)])


def _stalled() -> Iterator[tuple[str, FinetuneSweep]]:
    refused = a_sweep()
    problems = [Problem("spec.candidates[0].parameters.dropout", "acme takes batchSize, epochs")]
    status = refused_status(refused.status, 3, problems, now=NOW)
    yield "invalid", refused.model_copy(update={"status": status})
    message = "nobody knows whether a job was bought"
    asked = [a_trial(index, TrialPhase.STALLED, message=message) for index in (0, 1)]
    yield "waits-for-a-person", _decide(a_sweep(), asked)
    taken = Obstacle("TrialNameTaken", "a FinetuneTrial named s-0 is there that is not this sweep's")
    yield "name-taken", _decide(a_sweep(), [], obstacle=taken)
    failed = [a_trial(index, TrialPhase.FAILED) for index in (0, 1)]
    yield "failed", _decide(a_sweep(limits={"maxTrials": 2}), failed)
    done = a_sweep(limits={"maxTrials": 1}, output={"configMap": "model"})
    problem = "spec.output: the ConfigMap model is somebody else's"
    yield "output-refused", _decide(done, [a_trial(0, score=0.8)], output_problem=problem)


def _decide(sweep: FinetuneSweep, trials: list[FinetuneTrial], **knowledge: Any) -> FinetuneSweep:
    known = Knowledge(**{"baselines": _MEASURED, **knowledge})
    return sweep.model_copy(update={"status": decide(sweep, trials, known, now=NOW).status})


def _trials() -> Iterator[State]:
    for phase in TrialPhase:
        name = {"EarlyStopped": "early-stopped"}.get(phase, phase.lower())
        trial = a_trial(0, phase)
        told = transitions._conditions(phase, str(phase), f"a message of {phase}")
        stamped = _stamped(told, generation=1)
        status = trial.status.model_copy(update={"observed_generation": 1, "conditions": stamped})
        metadata = trial.metadata.model_copy(update={"generation": 1})
        manifest = trial.model_copy(update={"metadata": metadata, "status": status}).to_dict()
        if phase is TrialPhase.STALLED:
            manifest["status"]["create"] = {"attempt": 2, "state": "Unknown", "key": "ft-key-0000-a2"}
        bad = phase in {TrialPhase.FAILED, TrialPhase.STALLED}
        health = "Degraded" if bad else "Healthy" if phase.terminal else "Progressing"
        kstatus = "Failed" if bad else "Current" if phase.terminal else "InProgress"
        state = _told(name, manifest, health, kstatus)
        yield state
        if phase is TrialPhase.TRAINING:
            yield from _unseen(manifest, "Its job is being cancelled")


def _providers() -> Iterator[State]:
    accepted = conditions.condition("Accepted", True, reason="Valid", message="ready to use")
    usable = (accepted, *conditions.ready("Valid", "provider type OpenAI is ready to use"))
    ready = _told("ready", _provider(usable), "Healthy", "Current")
    yield ready
    yield from _unseen(ready.manifest, "Being deleted")
    closed = Offer(OfferState.CLOSED, "no new fine-tuning jobs since September 2025")
    yield _told("closed", _provider((*usable, *_offered(closed))), "Healthy", "Current")
    message = "spec.credentialsSecretRef: there is no Secret openai-prod"
    refused = conditions.condition("Accepted", False, reason="InvalidSpec", message=message)
    wanted = (refused, *conditions.needs_a_person("InvalidSpec", message))
    yield _told("invalid", _provider(wanted), "Degraded", "Failed")


def _provider(wanted: tuple[Condition, ...]) -> Manifest:
    told = [each.to_dict() for each in _stamped(wanted, generation=1)]
    return {
        "apiVersion": API_VERSION,
        "kind": "FinetuneProvider",
        "metadata": {"name": "openai-prod", "namespace": "default", "generation": 1},
        "spec": {"type": "OpenAI", "credentialsSecretRef": {"name": "openai-prod"}},
        "status": {"observedGeneration": 1, "conditions": told},
    }


def _stamped(wanted: tuple[Condition, ...], *, generation: int) -> tuple[Condition, ...]:
    return conditions.stamped((), wanted, generation=generation, now=NOW)


def argocd_files() -> dict[Path, str]:
    """Argo CD's test data, file by file, in the layout of its own repository."""
    files: dict[Path, str] = {}
    tests: dict[str, list[Manifest]] = {}
    for state in states():
        path = f"testdata/{state.name}.yaml"
        files[CUSTOMIZATIONS / state.kind / path] = dump_yaml(state.manifest)
        expected = {"status": state.health, "message": state.message}
        tests.setdefault(state.kind, []).append({"healthStatus": expected, "inputPath": path})
    for kind, each in tests.items():
        files[CUSTOMIZATIONS / kind / "health_test.yaml"] = dump_yaml({"tests": each})
    return files | dict(_action_files())


def _action_files() -> Iterator[tuple[Path, str]]:
    known = {(state.kind, state.name): state.manifest for state in states()}
    running = known["FinetuneSweep", "searching"]
    suspended = _merged(running, {"spec": {"suspend": True}})
    ended = known["FinetuneSweep", "succeeded"]
    yield from _actions_of(
        "FinetuneSweep",
        {"running": running, "suspended": suspended, "ended": ended},
        offered={"running": {"suspend"}, "suspended": {"resume"}, "ended": set()},
        acts=[("suspend", "running", "suspended", {}), ("resume", "suspended", "running", {})],
    )
    asked, training = known["FinetuneTrial", "stalled"], known["FinetuneTrial", "training"]
    answers = {"retry": "2 retry", "adopt": "2 adopt=ftjob-1", "abandon": "2 abandon"}
    answered = {
        f"answered-{name}": _merged(asked, {"metadata": {"annotations": {ANNOTATION: text}}})
        for name, text in answers.items()
    }
    job = {"adopt": {"job": "ftjob-1"}}
    yield from _actions_of(
        "FinetuneTrial",
        {"asked": asked, "training": training, **answered},
        offered={"asked": set(answers), "training": set()},
        acts=[(name, "asked", f"answered-{name}", job.get(name, {})) for name in answers],
    )


def _actions_of(
    kind: str,
    resources: dict[str, Manifest],
    *,
    offered: dict[str, set[str]],
    acts: list[tuple[str, str, str, dict[str, str]]],
) -> Iterator[tuple[Path, str]]:
    """The test data of a kind's actions.

    Args:
        kind: The kind.
        resources: By the name of their files.
        offered: Which actions a resource offers.
        acts: Action, what it is done to, what becomes of it, its parameters.
    """
    folder = CUSTOMIZATIONS / kind / "actions"
    for name, manifest in resources.items():
        yield folder / "testdata" / f"{name}.yaml", dump_yaml(manifest)
    names = [act[0] for act in acts]
    discovery = [
        {
            "inputPath": f"testdata/{name}.yaml",
            "result": [{"name": each, "disabled": each not in its} for each in names],
        }
        for name, its in offered.items()
    ]
    actions = [
        {
            "action": action,
            "inputPath": f"testdata/{before}.yaml",
            "expectedOutputPath": f"testdata/{after}.yaml",
            **({"parameters": parameters} if parameters else {}),
        }
        for action, before, after, parameters in acts
    ]
    yield folder / "action_test.yaml", dump_yaml({"discoveryTests": discovery, "actionTests": actions})


def _merged(manifest: Manifest, changes: Manifest) -> Manifest:
    """A manifest with other values, at any depth."""
    changed = dict(manifest)
    for key, each in changes.items():
        changed[key] = _merged(manifest.get(key, {}), each) if isinstance(each, dict) else each
    return changed


if __name__ == "__main__":
    for file, text in argocd_files().items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
