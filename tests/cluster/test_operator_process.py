"""The operator as a person meets it: a process, kubectl, and models that are really trained.

All tests share one namespace and one operator, which some of them kill and start again; most sweeps are applied
together at the beginning, good ones beside bad ones, and each test looks at what became of its own.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.operator_process import OperatorProcess, Team
from tests.cluster.shared_operator import (
    METHODS,
    applied,
    namespace,
    operator,
    person,
    started,
    team,
    tiny_model,
)
from tests.contract.finetune_process import trainer_of
from tests.contract.local_sweep import RATES, TOKEN, one_of, sweep
from tests.contract.patience import PATIENCE_S

from finetune_operator.decisions import CreateTrial, Knowledge, decide
from finetune_operator.lifecycle.engine import utc_now
from finetune_operator.resources import (
    FinetuneSweep,
    FinetuneTrial,
    TrialPhase,
    dump_yaml,
    load_yaml_documents,
)
from finetune_providers.local_lora.models import BUNDLED_NAME, find_model

__all__ = ["applied", "namespace", "operator", "person", "started", "team", "tiny_model"]
pytestmark = pytest.mark.lora

PATIENCE = f"--timeout={PATIENCE_S:.0f}s"
QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart.yaml"
# A step takes some milliseconds; this is long enough to be met in the middle, and short enough to be waited for.
SECONDS_LONG = {"epochs": one_of(30), "batchSize": one_of(2)}
MINUTES_LONG = {"epochs": one_of(100), "batchSize": one_of(1), "loraRank": one_of(2, 4)}


def test_sweeps_of_all_methods_become_ready_side_by_side(operator: OperatorProcess, team: Team) -> None:
    names = [f"finetunesweep/{name}" for name in METHODS]
    waited = team.kubectl("wait", "--for=condition=Ready", PATIENCE, *names, check=False)
    assert waited.returncode == 0, waited.stderr + operator.log_text()
    assert waited.stdout.count("condition met") == 3


async def test_every_trial_of_a_finished_sweep_has_a_score_and_a_model(
    operator: OperatorProcess, team: Team
) -> None:
    for name, count in METHODS.items():
        ended = await team.finished(name)
        assert (ended.status.phase, ended.status.trials.succeeded) == ("Succeeded", count)
        assert ended.status.best is not None
        trials = await team.trials(name)
        assert [trial.spec.index for trial in trials] == list(range(count))
        assert len({str(trial.spec.hyperparameters) for trial in trials}) == count
        for trial in trials:
            assert trial.status.score is not None
            assert Path(str(trial.status.fine_tuned_model).removeprefix("file://")).is_dir()


async def test_kubectl_get_shows_a_sweep_as_a_person_reads_it(operator: OperatorProcess, team: Team) -> None:
    best = (await team.finished("random")).status.best
    assert best is not None
    header, row = team.kubectl("get", "finetunesweeps", "random").stdout.splitlines()
    columns = [(each.group(1), each.start()) for each in re.finditer(r"(\S+) *", header)]
    starts = [start for _, start in columns]
    shown = {
        name: row[start:end].strip() for (name, start), end in zip(columns, [*starts[1:], None], strict=True)
    }
    assert list(shown) == ["NAME", "PHASE", "DONE", "MAX", "BEST", "SPENT", "REASON", "MODEL", "AGE"]
    assert (shown["NAME"], shown["PHASE"], shown["DONE"], shown["MAX"]) == ("random", "Succeeded", "3", "3")
    assert shown["BEST"] == f"{best.score:.4g}"
    assert shown["SPENT"] == ""
    assert shown["MODEL"] == best.fine_tuned_model
    assert re.fullmatch(r"(\d+[smh])+", shown["AGE"])


async def test_kubectl_describe_tells_the_story_of_a_sweep(operator: OperatorProcess, team: Team) -> None:
    await team.finished("grid")
    events = await team.told("grid", r"Normal +Succeeded ")
    assert events.count("TrialLaunched") == 2
    for reason in ("NewBest", "Succeeded"):
        assert re.search(rf"Normal +{reason} ", events), events
    assert "Warning" not in events
    described = team.kubectl("describe", "finetunesweeps", "grid").stdout
    assert "the manifest, its providers and its datasets were checked" in described


async def test_raising_the_number_of_trials_takes_effect(operator: OperatorProcess, team: Team) -> None:
    assert (await team.finished("raised")).status.trials.done == 1
    team.kubectl(
        "patch", "finetunesweep", "raised", "--type=merge", '-p={"spec": {"limits": {"maxTrials": 3}}}'
    )
    await team.until("raised", lambda sweep, _: sweep.status.trials.done == 3)
    assert (await team.finished("raised")).status.trials.succeeded == 3


def test_another_search_space_is_refused_where_the_sweep_exists(
    operator: OperatorProcess, team: Team
) -> None:
    change = '-p=[{"op": "remove", "path": "/spec/candidates/0/parameters/batchSize"}]'
    refused = team.kubectl("patch", "finetunesweep", "grid", "--type=json", change, check=False)
    assert refused.returncode == 1
    assert "spec.candidates is immutable once the sweep exists: make a new sweep" in refused.stderr


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("bad-lines", ("spec.dataset.training", "line 1: messages[1].content", "line 2: is not valid JSON")),
        ("no-data", ("spec.dataset.training", "forgotten")),
        ("no-key", ("spec.dataset.training", "forgotten.jsonl")),
        ("no-model", ("spec.candidates[0].baseModels", "holds no config.json")),
        ("no-such-parameter", ("spec.candidates[0].parameters.dropout", "it takes batchSize, epochs")),
    ],
)
async def test_a_mistake_is_named_with_its_field_and_nothing_is_trained(
    operator: OperatorProcess, team: Team, name: str, says: tuple[str, ...]
) -> None:
    condition = await team.condition(name, "Accepted", "InvalidSpec")
    for part in says:
        assert part in condition.message
    assert not await team.trials(name)
    await team.told(name, r"Warning +Refused ")
    stalled = (await team.sweep(name)).status.condition("Stalled")
    assert stalled is not None
    assert stalled.status == "True"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("broken-weights", "does not load"),
        ("exploding", "training loss is not finite at step"),
    ],
)
async def test_a_training_that_cannot_succeed_ends_its_sweep_with_the_reason(
    operator: OperatorProcess, team: Team, name: str, says: str
) -> None:
    ended = await team.finished(name)
    assert ended.status.phase == "Failed"
    ready = ended.status.condition("Ready")
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", "TooManyFailures")
    assert says in ready.message
    (trial,) = await team.trials(name)
    assert (trial.phase, trial.status.reason) == (TrialPhase.FAILED, "JobFailed")
    assert says in str(trial.status.message)
    assert "Traceback" not in str(trial.status.message)
    await team.told(name, r"Warning +Failed ")


async def test_a_trainer_that_is_killed_goes_on(
    operator: OperatorProcess, team: Team, tiny_model: Path
) -> None:
    team.apply(sweep("killed", tiny_model, parameters=SECONDS_LONG))
    await team.until("killed", lambda _, trials: is_training(trials, 1))
    (trial,) = await team.trials("killed")
    job = operator.job(trial)
    operator.wait_until_training(job)
    first, _ = trainer_of(job)
    os.kill(first, signal.SIGKILL)
    ended = await team.finished("killed")
    assert ended.status.phase == "Succeeded"
    assert trainer_of(job)[0] != first
    assert "going on from step" in job.log.read_text("utf-8")


async def test_deleting_a_running_sweep_ends_its_trainings(
    operator: OperatorProcess, team: Team, tiny_model: Path
) -> None:
    team.apply(sweep("doomed", tiny_model, parameters=MINUTES_LONG, trials=2, parallel=2))
    await team.until("doomed", lambda _, trials: is_training(trials, 2))
    jobs = [operator.job(trial) for trial in await team.trials("doomed")]
    for job in jobs:
        operator.wait_until_training(job)
    trainers = {trainer_of(job)[0]: job.path.resolve() for job in jobs}
    assert trainers.items() <= operator.processes().items()
    team.kubectl("delete", "finetunesweep", "doomed", PATIENCE)
    await team.until_gone("doomed")
    assert not trainers.keys() & operator.processes().keys()
    assert [job.status().native_state for job in jobs] == ["Cancelled", "Cancelled"]
    assert operator.running


async def test_a_killed_operator_loses_nothing_and_proposes_the_same_points(
    operator: OperatorProcess, team: Team, tiny_model: Path
) -> None:
    space = {**RATES, **SECONDS_LONG}
    team.apply(sweep("resumed", tiny_model, parameters=space, method="Bayesian", trials=4, initial=2))
    await team.until("resumed", lambda _, trials: len(trials) == 3 and is_training(trials, 1))
    before = await team.trials("resumed")
    running = operator.job(before[-1])
    operator.wait_until_training(running)
    trainer = trainer_of(running)
    operator.kill()
    assert trainer[0] in operator.processes()
    operator.start()
    ended = await team.finished("resumed")
    trials = await team.trials("resumed")
    assert (ended.status.phase, ended.status.trials.succeeded, len(trials)) == ("Succeeded", 4, 4)
    assert [trial.spec for trial in trials[:3]] == [trial.spec for trial in before]
    assert [trial.status for trial in trials[:2]] == [trial.status for trial in before[:2]]
    # The trainer outlived the operator: the new one found it by its key, and started no other.
    assert trainer_of(running) == trainer
    jobs = [operator.job(trial) for trial in trials]
    assert len({job.path for job in jobs}) == 4
    assert [trial.status.create.attempt for trial in trials if trial.status.create] == [1] * 4
    for number, trial in enumerate(trials):
        assert next_point(ended, trials[:number]) == (trial.spec.base_model, dict(trial.spec.hyperparameters))


def next_point(sweep: FinetuneSweep, trials: list[FinetuneTrial]) -> tuple[str, dict[str, Any]]:
    """What an operator that was never disturbed proposes after these trials."""
    fresh = sweep.model_copy(update={"status": sweep.status.model_copy(update={"last_index": -1})})
    decision = decide(fresh, trials, Knowledge(), now=utc_now())
    point = next(each.proposal.point for each in decision.actions if isinstance(each, CreateTrial))
    return point.base_model, dict(point.parameters)


async def test_a_stopped_operator_pauses_its_trainers_and_the_next_one_goes_on(
    operator: OperatorProcess, team: Team, tiny_model: Path
) -> None:
    parameters = {"epochs": one_of(80), "batchSize": one_of(2), "loraRank": one_of(2, 4)}
    team.apply(sweep("paused", tiny_model, parameters=parameters, trials=2, parallel=2))
    await team.until("paused", lambda _, trials: is_training(trials, 2))
    jobs = [operator.job(trial) for trial in await team.trials("paused")]
    for job in jobs:
        operator.wait_until_training(job)
    assert operator.stop() == 0
    assert not operator.processes()
    assert [job.status().native_state for job in jobs] == ["Paused", "Paused"]
    operator.start()
    assert (await team.finished("paused")).status.trials.succeeded == 2
    for job in jobs:
        assert "going on from step" in job.log.read_text("utf-8")


@pytest.mark.parametrize("mode", ["--server-side=false", "--server-side"])
async def test_the_quickstart_is_accepted_and_stands_as_it_was_written(
    operator: OperatorProcess, team: Team, tmp_path: Path, mode: str
) -> None:
    find_model(BUNDLED_NAME)  # `make install` brings it
    team.kubectl("apply", mode, "--dry-run=server", f"--filename={QUICKSTART}")
    documents = load_yaml_documents(QUICKSTART.read_text("utf-8"))
    documents[0]["spec"]["suspend"] = True
    file = tmp_path / "quickstart.yaml"
    file.write_text("---\n".join(dump_yaml(document) for document in documents), "utf-8")
    team.kubectl("apply", mode, f"--filename={file}")
    accepted = await team.condition("quickstart", "Accepted", "Valid")
    assert accepted.status == "True"
    await team.until("quickstart", lambda sweep, _: sweep.status.phase == "Suspended")
    assert team.kubectl("diff", mode, f"--filename={file}", check=False).stdout == ""
    assert not await team.trials("quickstart")
    # The sweep stands before its provider and its data in the file, which is no mistake.
    assert "Warning" not in team.events("quickstart")
    team.kubectl("delete", f"--filename={file}", PATIENCE)


async def test_the_operator_says_no_secret_and_shows_no_traceback(
    operator: OperatorProcess, team: Team
) -> None:
    for name in METHODS:
        await team.finished(name)
    log = operator.log_text()
    assert "Traceback" not in log
    assert "unexpected error" not in log
    shown = [log, *(team.kubectl("get", kind, "--output=yaml").stdout for kind in ("finetune", "events"))]
    assert all(TOKEN not in text for text in shown)
    files = [file for file in operator.work_dir.rglob("*") if file.is_file()]
    assert [file for file in files if TOKEN.encode() in file.read_bytes()] == []


def is_training(trials: list[FinetuneTrial], count: int) -> bool:
    """Whether so many of the trials train."""
    return sum(trial.phase is TrialPhase.TRAINING for trial in trials) == count
