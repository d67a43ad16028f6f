"""What was sold to whom, in one form for companies and for one's own machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.contract.finetune_process import jobs_below
from tests.fakes.hosted import HostedCompany
from tests.faults.companies import (
    RUN_KEY,
    deployments,
    is_running,
    jobs_by_run_key,
    uploads,
    was_cancelled,
)

from finetune_providers.local_lora.jobs import CANCELLED


@dataclass(frozen=True)
class Sold:
    """A job that was bought.

    Attributes:
        job_id: Its id.
        running: Whether it goes on, and costs.
        cancelled: Whether somebody cancelled it, or deleted what it made.
    """

    job_id: str
    running: bool
    cancelled: bool


@dataclass(frozen=True)
class Books:
    """What one seller knows.

    Attributes:
        who: The seller.
        sold: All jobs that were ever bought, by the run key of their trial.
        deployments: Names of machines that cost by the hour.
        uploads: Names of what was uploaded for sweeps and is still there.
    """

    who: str
    sold: Mapping[str, tuple[Sold, ...]]
    deployments: tuple[str, ...]
    uploads: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many jobs were sold."""
        return sum(map(len, self.sold.values()))


def books_of(server: HostedCompany) -> Books:
    """A company's."""
    sold = {
        key: tuple(Sold(job.job_id, is_running(server, job), was_cancelled(server, job)) for job in jobs)
        for key, jobs in jobs_by_run_key(server).items()
    }
    return Books(type(server).__name__, sold, tuple(deployments(server)), tuple(uploads(server)))


def books_of_machine(work_dir: Path) -> Books:
    """Those of the provider Local: a training is a folder, and a process for as long as it goes on."""
    sold: dict[str, list[Sold]] = {}
    for job_id, job in jobs_below(work_dir).items():
        found = RUN_KEY.search(job_id)
        assert found is not None, f"job {job_id} carries no key"
        status = job.status()
        running = job.alive or not status.terminal
        sold.setdefault(found[0], []).append(Sold(job_id, running, status.native_state == CANCELLED))
    uploads = [str(each) for each in work_dir.glob("providers/*/*/datasets/fts-*")]
    return Books("Local", {key: tuple(jobs) for key, jobs in sold.items()}, (), tuple(sorted(uploads)))
