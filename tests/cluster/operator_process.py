"""The real operator as a process beside the tests, with the rights of `examples/operator/rbac.yaml` and no others."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cluster.operator_account import Person, is_gone, until
from tests.contract.finetune_process import (
    jobs_below,
    processes_below,
    start_finetune,
    wait_for,
)
from tests.contract.local_sweep import Manifest
from tests.contract.patience import PATIENCE_S

from controlplane.fixtures import Kubectl
from finetune_operator.cluster.client import TRIALS
from finetune_operator.resources import Condition, FinetuneSweep, FinetuneTrial, dump_yaml, parse_resource
from finetune_providers.local_lora.jobs import JobFolder

# Kubernetes kills a pod that has not ended this long after SIGTERM, unless told otherwise.
GRACE_S = 30.0


class OperatorProcess:
    """`finetune operator` for one namespace; may be killed and started again over the same folder.

    Attributes:
        work_dir: Its folder, in which all its processes work.
        log: What all the processes in turn wrote.
    """

    def __init__(
        self, kubeconfig: Path, namespace: str, *, work_dir: Path, log: Path, options: tuple[str, ...] = ()
    ) -> None:
        self.work_dir = work_dir
        self.log = log
        self._arguments = (
            "operator",
            f"--namespace={namespace}",
            f"--kubeconfig={kubeconfig}",
            f"--work-dir={work_dir}",
            *options,
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def stopped(self) -> bool:
        """Whether a test ended the process, so that there is none on purpose."""
        return self._process is None

    def start(self) -> None:
        """Start a new process; the one before must have ended."""
        assert not self.running
        self._process = start_finetune(*self._arguments, folder=self.work_dir, log=self.log)

    def kill(self) -> None:
        """What a lost node or the kernel's memory killer does."""
        self._signal(signal.SIGKILL)

    def stop(self) -> int:
        """What Kubernetes does to a pod: SIGTERM, and a time to end in.

        Returns:
            The exit code.

        Raises:
            subprocess.TimeoutExpired: It has not ended in time.
        """
        return self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        code = self._process.wait(GRACE_S)
        self._process = None
        return code

    def job(self, trial: FinetuneTrial) -> JobFolder:
        """The folder of a trial's job, which must have been bought."""
        assert trial.status.create is not None
        return jobs_below(self.work_dir)[str(trial.status.create.external_id)]

    def processes(self) -> dict[int, Path]:
        """What lives of the operator: itself, its fork server, its trainers."""
        return processes_below(self.work_dir)

    def wait_until_training(self, job: JobFolder) -> None:
        """Wait until a job's trainer is at work and has written a checkpoint."""
        wait_for(lambda: job.alive and job.status().saved_step > 0, what=f"a checkpoint of {job.path.name}")

    def log_text(self) -> str:
        """Everything that was logged so far."""
        return self.log.read_text("utf-8")


class Team:
    """People with kubectl, who look at their sweeps and wait for them."""

    def __init__(self, kubectl: Kubectl, namespace: str, person: Person) -> None:
        self._kubectl = kubectl
        self._namespace = namespace
        self._person = person

    def kubectl(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run kubectl in the team's namespace."""
        return self._kubectl(
            *arguments, f"--namespace={self._namespace}", check=check, timeout_s=PATIENCE_S + 30.0
        )

    def apply(self, *manifests: Manifest) -> None:
        """Apply manifests as a file of several documents."""
        apply(self._kubectl, self._namespace, *manifests)

    async def told(self, name: str, what: str) -> str:
        """The story of a sweep once it has this in it: an event is told after the status was written that it is of."""

        async def look() -> bool:
            return re.search(what, await asyncio.to_thread(self.events, name)) is not None

        try:
            await until(look)
        except TimeoutError:
            pytest.fail(f"not told: {what}; only {self.events(name)}")
        return self.events(name)

    def events(self, name: str) -> str:
        """The story of a sweep, as `kubectl describe` tells it."""
        return self.kubectl("describe", "finetunesweep", name).stdout.partition("Events:")[2]

    async def sweep(self, name: str) -> FinetuneSweep:
        """A sweep as it is now."""
        return parse_resource(FinetuneSweep, await self._person.get("FinetuneSweep", name))

    async def trials(self, name: str) -> list[FinetuneTrial]:
        """A sweep's trials as they are now, in order."""
        listing = await self._person.client.list(TRIALS, self._namespace)
        trials = [parse_resource(FinetuneTrial, raw) for raw in listing.items]
        own = [trial for trial in trials if trial.spec.sweep_ref.name == name]
        return sorted(own, key=lambda trial: trial.spec.index)

    async def until(self, name: str, holds: Callable[[FinetuneSweep, list[FinetuneTrial]], bool]) -> None:
        """Wait until a sweep and its trials are as wanted; tells how they are where they do not become so."""

        async def look() -> bool:
            return holds(await self.sweep(name), await self.trials(name))

        try:
            await until(look)
        except TimeoutError:
            states = [
                (trial.name, str(trial.phase), trial.status.message) for trial in await self.trials(name)
            ]
            pytest.fail(f"not reached: {(await self.sweep(name)).status.to_dict()}; trials: {states}")

    async def finished(self, name: str) -> FinetuneSweep:
        """The sweep once it has ended and the operator holds nothing of it any more."""
        await self.until(name, lambda sweep, _: sweep.status.finished and not sweep.has_finalizer)
        return await self.sweep(name)

    async def until_gone(self, name: str) -> None:
        """Wait until neither a sweep nor any trial of it is left."""

        async def look() -> bool:
            return await is_gone(self._person, "FinetuneSweep", name) and not await self.trials(name)

        await until(look)

    async def condition(self, name: str, kind: str, reason: str) -> Condition:
        """A sweep's condition once it has a reason."""

        def found(sweep: FinetuneSweep) -> Condition | None:
            condition = sweep.status.condition(kind)
            return condition if condition is not None and condition.reason == reason else None

        await self.until(name, lambda sweep, _: found(sweep) is not None)
        condition = found(await self.sweep(name))
        assert condition is not None
        return condition


def apply(kubectl: Kubectl, namespace: str, *manifests: Manifest) -> None:
    """Apply manifests as a file of several documents."""
    documents = "---\n".join(dump_yaml(manifest) for manifest in manifests)
    kubectl("apply", "-f", "-", f"--namespace={namespace}", stdin=documents)
