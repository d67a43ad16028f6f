"""The companies of the tests, each of whose calls is a moment, and what lies there in the end."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tests.fakes.hosted import HostedCompany, Job
from tests.fakes.http_server import Answer, Request, Route
from tests.faults.moments import Moment, Moments, When

from finetune_providers.base import JobState

RUN_KEY = re.compile(r"ft-[0-9a-f]{20}")
_OPENAI = {
    "jobs.create": "create",
    "jobs.list": "look up",
    "jobs.get": "observe",
    "jobs.cancel": "cancel",
    "files.create": "upload",
    "files.list": "look for data",
    "files.delete": "delete data",
    "models.delete": "delete model",
    "chat": "answer",
}
STEPS: Mapping[str, Mapping[str, str]] = {
    "OpenAI": _OPENAI,
    "AzureOpenAI": {
        **_OPENAI,
        "jobs.delete": "delete model",
        "arm.put": "deploy",
        "arm.get": "look at deployment",
        "arm.list": "look for deployments",
        "arm.delete": "undeploy",
    },
    "VertexAI": {
        "upload-part": "upload",
        "upload": "upload",
        "objects": "look for data",
        "object": "look for data",
        "forget": "delete data",
        "create": "create",
        "list": "look up",
        "get": "observe",
        "answer": "answer",
    },
    "GoogleAIStudio": {"create": "create", "list": "look up", "get": "observe", "delete": "delete model"},
    "Bedrock": {
        "create": "create",
        "list": "look up",
        "get": "observe",
        "stop": "cancel",
        "deploy": "deploy",
        "deployment": "look at deployment",
        "undeploy": "undeploy",
        "converse": "answer",
        "put": "upload",
        "head": "look for data",
        "objects": "look for data",
        "delete": "delete data",
    },
    "Cohere": {
        "create": "create",
        "list": "look up",
        "get": "observe",
        "upload": "upload",
        "datasets": "look for data",
        "dataset": "look for data",
        "delete-dataset": "delete data",
        "delete": "delete model",
        "chat": "answer",
    },
}
"""By company: what its operations are for, in words that all share. What is not here keeps its own word."""


def watch_company(kind: str, server: HostedCompany, moments: Moments) -> None:
    """Make every call of a company's server a moment; one that is swallowed ends without an answer."""
    carry_out, words = server._carry_out, STEPS[kind]

    def seen(route: Route | None, request: Request) -> Answer | None:
        with moments.under_way():
            return look(route, request)

    def look(route: Route | None, request: Request) -> Answer | None:
        name = words.get(request.operation, request.operation)
        if moments.pass_by(Moment(kind, name, When.ARRIVED, request)):
            return None
        answer = carry_out(route, request)
        return None if moments.pass_by(Moment(kind, name, When.DONE, request)) else answer

    server._carry_out = seen  # type: ignore[method-assign, assignment]


def run_key_of(job: Job) -> str:
    """The run key of the trial for which a job was bought, wherever the company keeps it."""
    found = RUN_KEY.search(f"{job.job_id} {json.dumps(job.body, default=str)} {job.more}")
    assert found is not None, f"job {job.job_id} carries no key: {job.body}"
    return found[0]


def jobs_by_run_key(server: HostedCompany) -> dict[str, list[Job]]:
    """All jobs that were ever sold."""
    found: dict[str, list[Job]] = {}
    with server.lock:
        for job in server.jobs.values():
            found.setdefault(run_key_of(job), []).append(job)
    return found


def is_running(server: HostedCompany, job: Job) -> bool:
    """Whether a job goes on, and costs."""
    with server.lock:
        return server.state(job) in {JobState.PENDING, JobState.RUNNING}


def was_cancelled(server: HostedCompany, job: Job) -> bool:
    """Whether somebody cancelled a job, or deleted what it made."""
    deleted = getattr(server, "jobs_deleted", set()) | server.models_deleted
    return job.cancelled_s is not None or job.job_id in deleted


def deployments(server: HostedCompany) -> list[str]:
    """The names of the machines that cost by the hour."""
    with server.lock:
        names = list(getattr(server, "deployments", {}))
        # Azure's server remembers those that were.
        still_there = getattr(server, "hosted", lambda name: name)
        return sorted(name for name in names if still_there(name) is not None)


def uploads(server: HostedCompany) -> list[str]:
    """The names of what was uploaded for sweeps and is still there."""
    with server.lock:
        names: list[Any] = [file["filename"] for file in getattr(server, "files", {}).values()]
        names += [each if isinstance(each, str) else each[-1] for each in getattr(server, "objects", {})]
        names += [dataset.name for dataset in getattr(server, "datasets", {}).values()]
    return sorted(str(name) for name in names if "fts-" in str(name))
