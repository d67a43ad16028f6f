"""A company's accounts in a process of their own, fast enough that the operator is what is measured.

It is the stateful OpenAI of the tests with indices in place of searches, without the schema, and with a log of when
what was asked. The process prints one line with the accounts' addresses; to each line on its standard input it answers
with what was asked since the last.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from tests.fakes.hosted import Job
from tests.fakes.http_server import Answer, Request, Route
from tests.fakes.openai_common import lines_of
from tests.fakes.openai_server import OpenAIServer

from finetune_providers.base import JobState
from finetune_providers.openai import KEY

AT_ONCE_S = 0.001
"""Training that is over before anybody looks."""


class _Calls(list[Request]):
    """In place of all requests: the time, the operation and the trial of each."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[float, str, str]] = []

    def append(self, request: Request) -> None:
        """Note a request, and let it go."""
        operation, trial = request.operation, ""
        if operation == "jobs.create":
            trial = str(request.json["metadata"].get("trial", ""))
        elif operation == "jobs.list":
            operation = _purpose(request.query)
        self.seen.append((time.time(), operation, trial))


def _purpose(query: Mapping[str, Sequence[str]]) -> str:
    """What a list of jobs is asked for."""
    if any(name.startswith("metadata[") for name in query):
        return "find"
    if query.get("limit") == ["1"]:
        return "check"
    return "poll page" if "after" in query else "poll"


class ScaleServer(OpenAIServer):
    """OpenAI without anything that takes longer the more jobs there are."""

    def __init__(self, *, training_s: float) -> None:
        super().__init__(speed=1.0)
        self.training_s = training_s
        self.calls = _Calls()
        self.requests = self.calls
        self.quality = _quality
        self._routes: Sequence[Route] | None = None
        self._by_model: dict[str, Job] = {}
        self._by_key: dict[str, Job] = {}
        self._newest: list[Job] = []

    def routes(self) -> Sequence[Route]:
        if self._routes is None:
            self._routes = super().routes()
        return self._routes

    def checked(self, operation: str, handler: Callable[[Request], Answer]) -> Callable[[Request], Answer]:
        return handler

    def check_content(self, content: bytes) -> None:
        assert lines_of(content)

    def new_job_id(self) -> str:
        return f"ftjob-{len(self.jobs) + 1:024d}"

    def sell(
        self,
        job_id: str,
        base_model: str,
        hyperparameters: Mapping[str, Any],
        lessons: Mapping[str, str],
        body: Any,
    ) -> Job:
        job = super().sell(job_id, base_model, hyperparameters, lessons, body)
        self._by_model[self.model_of(job)] = job
        self._by_key[body["metadata"][KEY]] = job
        self._newest.append(job)
        return job

    def trained(self, model: str) -> Job | None:
        job = self._by_model.get(model)
        there = job is not None and model not in self.models_deleted and self.state(job) is JobState.SUCCEEDED
        return job if there else None

    def _list_jobs(self, request: Request) -> Answer:
        size = min(int(request.one("limit") or 20), self.page_size)
        key = request.one(f"metadata[{KEY}]")
        if key:
            found = [self._by_key[key]] if key in self._by_key else []
            return Answer(
                {"object": "list", "data": [self.shown_job(job) for job in found], "has_more": False}
            )
        after = request.one("after")
        end = self.jobs[after].number - 1 if after else len(self._newest)
        page = [self.shown_job(job) for job in self._newest[max(0, end - size) : end][::-1]]
        return Answer({"object": "list", "data": page, "has_more": end > size})


def _quality(hyperparameters: Mapping[str, Any]) -> float:
    """Something to search for: best at 3 epochs and a multiplier of 1."""
    epochs = abs(int(hyperparameters.get("n_epochs", 3)) - 3)
    return max(
        0.0, 1.0 - 0.1 * epochs - 0.05 * abs(float(hyperparameters.get("learning_rate_multiplier", 1)) - 1)
    )


def _taken(servers: Sequence[ScaleServer]) -> Iterator[tuple[int, float, str, str]]:
    for number, server in enumerate(servers):
        with server.lock:
            seen, server.calls.seen = server.calls.seen, []
        yield from ((number, *each) for each in seen)


def main() -> int:
    """Serve until the standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--accounts", type=int, default=1)
    parser.add_argument("--training-s", type=float, default=AT_ONCE_S)
    wanted = parser.parse_args()
    with ExitStack() as running:
        servers = [
            running.enter_context(ScaleServer(training_s=wanted.training_s)) for _ in range(wanted.accounts)
        ]
        print(json.dumps([f"{server.url}/v1" for server in servers]), flush=True)
        for _ in sys.stdin:
            print(json.dumps(list(_taken(servers))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
