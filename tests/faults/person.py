"""What a person does whom the operator asks: looks at the company's console, and answers.

Time is not waited for. Where a company does not promise when its list shows a job, the operator looks for minutes
before it asks; the person then dates the journal's entry back, as if the minutes had passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fakes.hosted import HostedCompany
from tests.faults.cluster_api import ClusterApi, Raw
from tests.faults.companies import jobs_by_run_key

RESOLVE = "finetune-operator.dev/resolve-create"
LONG = timedelta(minutes=20)


@dataclass
class Person:
    """Answers the operator's questions.

    Attributes:
        api: The way to the cluster.
        servers: The companies by the name of the FinetuneProvider.
        asked: The trials for which the operator asked, by what was answered.
        patient: Lets minutes pass where the operator waits for a list.
    """

    api: ClusterApi
    servers: Mapping[str, HostedCompany]
    asked: dict[str, str] = field(default_factory=dict)
    patient: bool = True

    def look(self, trials: list[Raw]) -> None:
        """Look at all trials once."""
        for trial in trials:
            status = trial.get("status", {})
            if status.get("reason") == "CreateOutcomeUnknown" and status.get("phase") == "Stalled":
                self._answer(trial)
            elif self.patient and (status.get("create") or {}).get("state") in {"Pending", "Unknown"}:
                self._let_time_pass(trial)

    def _answer(self, trial: Raw) -> None:
        name, entry = trial["metadata"]["name"], trial["status"]["create"]
        if (trial["metadata"].get("annotations") or {}).get(RESOLVE, "").startswith(f"{entry['attempt']} "):
            return
        server = self.servers[trial["spec"]["providerRef"]["name"]]
        jobs = jobs_by_run_key(server).get(trial["spec"]["runKey"], [])
        what = f"adopt={jobs[0].job_id}" if jobs else "retry"
        self.asked[name] = what
        answer = {RESOLVE: f"{entry['attempt']} {what}"}
        self.api.patch("FinetuneTrial", name, {"metadata": {"annotations": answer}})

    def _let_time_pass(self, trial: Raw) -> None:
        def earlier(found: Raw) -> Raw | None:
            entry: dict[str, Any] = (found.get("status") or {}).get("create") or {}
            if entry.get("state") not in {"Pending", "Unknown"}:
                return None
            long_ago = datetime.now(UTC) - LONG
            at = datetime.fromisoformat(entry["at"])
            if at <= long_ago + LONG / 2:
                return None
            return {"status": {"create": {"at": long_ago.strftime("%Y-%m-%dT%H:%M:%SZ")}}}

        self.api.change_until_taken("FinetuneTrial", trial["metadata"]["name"], earlier, part="status")
