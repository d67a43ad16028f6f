"""`finetune run` as a process over a folder, a company whose calls are moments, and somebody who runs it again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.cluster.hosted_world import COMPANIES, EXAMPLES, QUICK, SPEED, _answers
from tests.contract.finetune_process import kill_below
from tests.contract.patience import PATIENCE_S
from tests.fakes.hosted import HostedCompany
from tests.faults.books import Books, books_of, books_of_machine
from tests.faults.companies import watch_company
from tests.faults.local import LOCAL, local_manifests
from tests.faults.moments import Moment, Moments
from tests.faults.nursery import Child, Nursery
from tests.faults.oracle import Findings, judge_jobs, judge_remains, judge_trials
from tests.faults.person import LONG, RESOLVE
from tests.faults.world import FILES

from finetune_operator.resources import dump_yaml, load_yaml_documents

Raw = dict[str, Any]
SUCCEEDED = 0
_LOOK_S = 0.05


class FolderWorld:
    """One sweep in a folder. Used with `with`.

    Attributes:
        moments: Everything that the process asks of the company.
        asked: What was answered to the trials that asked.
        kills: How many processes were killed at work.
        codes: What processes ended with by themselves.
    """

    def __init__(
        self,
        kind: str,
        nursery: Nursery,
        folder: Path,
        *,
        trials: int = 2,
        parallel: int = 2,
        slots: int = 8,
    ) -> None:
        self.kind = kind
        self.folder = folder
        self.state = folder / "state"
        self.log = folder / "run.log"
        self.moments = Moments()
        self._server = None if kind == LOCAL else COMPANIES[kind].server(speed=SPEED)
        self.asked: dict[str, str] = {}
        self.kills = 0
        self.codes: list[int] = []
        self.ever: dict[str, str] = {}
        self.process: Child | None = None
        self._nursery = nursery
        self._slots = slots
        self._limits = {"maxTrials": trials, "parallelTrials": parallel}

    def __enter__(self) -> FolderWorld:
        self.folder.mkdir(parents=True, exist_ok=True)
        manifests = local_manifests(self.folder / "tiny") if self.kind == LOCAL else self._hosted()
        for manifest in manifests:
            if manifest["kind"] == "FinetuneSweep":
                manifest["spec"] |= {"search": {"method": "Random", "seed": 7}, "limits": self._limits}
        text = "---\n".join(dump_yaml(each) for each in manifests)
        (self.folder / "sweep.yaml").write_text(text, "utf-8")
        return self

    def _hosted(self) -> list[Raw]:
        """The example's manifests, led to a new server."""
        self.server.__enter__()
        watch_company(self.kind, self.server, self.moments)
        manifests = load_yaml_documents((EXAMPLES / f"{FILES[self.kind]}.yaml").read_text(encoding="utf-8"))
        self.server.exam = _answers(manifests)
        company = COMPANIES[self.kind]
        for manifest in manifests:
            if manifest["kind"] == "FinetuneProvider":
                spec = manifest["spec"]
                spec |= {**company.spec(self.server), "options": QUICK, "requestsPerMinute": 6000}
                spec["maxConcurrentJobs"] = self._slots
                name = spec["credentialsSecretRef"]["name"]
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "stringData": dict(company.secret(self.server)),
        }
        return [*manifests, secret]

    @property
    def server(self) -> HostedCompany:
        """The company."""
        assert self._server is not None, "Local has no server"
        return self._server

    def __exit__(self, *_: object) -> None:
        self.moments.clear()
        if self.process is not None:
            self.process.kill()
        kill_below(self.folder)
        if self._server is not None:
            self._server.__exit__(None, None, None)

    def start(self, **limits: int) -> None:
        """Run the command again."""
        self.moments.wait_until_quiet()
        self._answer()
        self.process = self._nursery.bear(
            *("run", str(self.folder / "sweep.yaml"), "--state", str(self.state), "--output", "json"),
            folder=self.folder,
            log=self.log,
            limits=limits,
        )

    def kill(self, _: Moment | None = None) -> bool:
        """Kill the process, and swallow what it had asked; a deed for a moment."""
        if self.process is not None and self.process.kill():
            self.kills += 1
            return True
        return False

    def run(self, *, within_s: float = PATIENCE_S, started: Callable[[], None] = lambda: None) -> bool:
        """Run the command until it ends with success.

        Args:
            within_s: Patience.
            started: Called after each start.
        """
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if self.process is None or not self.process.running:
                if self.process is not None and (code := self.process.exit_code) is not None:
                    self.codes.append(code)
                    if code == SUCCEEDED:
                        return True
                self.start()
                started()
            time.sleep(_LOOK_S)
        return False

    def documents(self, pattern: str) -> list[tuple[Path, Raw]]:
        """What lies in the folder."""
        files = sorted(self.state.glob(pattern))
        return [(file, load_yaml_documents(file.read_text("utf-8"))[0]) for file in files]

    def trials(self) -> list[Raw]:
        """All trials; remembers that they were there."""
        trials = [trial for _, trial in self.documents("trials/*.yaml")]
        for trial in trials:
            self.ever.setdefault(trial["metadata"]["name"], trial["spec"]["runKey"])
        return trials

    def judge(self) -> Findings:
        """What is wrong at the end."""
        trials = self.trials()
        books = [self.books()]
        found = judge_jobs(books, trials)
        found.add(judge_remains(books))
        ((_, sweep),) = self.documents("sweep.yaml")
        found.add(judge_trials(sweep, trials, ever=self.ever))
        if sweep["status"].get("phase") not in {"Succeeded", "Failed"}:
            found.stuck.append(f"sweep: {sweep['status']}")
        return found

    def books(self) -> Books:
        """What was sold."""
        return books_of_machine(self.state / "work") if self._server is None else books_of(self._server)

    def _answer(self) -> None:
        """What a person writes into the files of trials while no process runs."""
        for file, trial in self.documents("trials/*.yaml"):
            self.ever.setdefault(trial["metadata"]["name"], trial["spec"]["runKey"])
            status = trial.get("status") or {}
            entry = status.get("create") or {}
            if status.get("reason") == "CreateOutcomeUnknown" and status.get("phase") == "Stalled":
                jobs = self.books().sold.get(trial["spec"]["runKey"], ())
                what = f"adopt={jobs[0].job_id}" if jobs else "retry"
                self.asked[trial["metadata"]["name"]] = what
                annotations = trial["metadata"].setdefault("annotations", {})
                annotations[RESOLVE] = f"{entry['attempt']} {what}"
            elif entry.get("state") in {"Pending", "Unknown"}:
                # Minutes pass in which no list shows the job.
                entry["at"] = (datetime.now(UTC) - LONG).strftime("%Y-%m-%dT%H:%M:%SZ")
            else:
                continue
            partial = file.with_name(f".{file.name}.edited")
            partial.write_text(
                f"{dump_yaml(trial)}...\n", "utf-8"
            )  # without the last line it counts as cut off
            os.replace(partial, file)
