"""An operator's process behind a proxy, companies whose calls are moments, and somebody who starts it again."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.cluster.hosted_world import COMPANIES, EXAMPLES, QUICK, SPEED, Company, _answers
from tests.cluster.operator_account import rbac_for
from tests.contract.finetune_process import kill_below
from tests.contract.patience import PATIENCE_S
from tests.fakes.hosted import HostedCompany
from tests.faults.books import Books, books_of, books_of_machine
from tests.faults.cluster_api import ApiError, ClusterApi, Raw
from tests.faults.companies import watch_company
from tests.faults.local import LOCAL, local_manifests
from tests.faults.moments import Moment, Moments
from tests.faults.nursery import Child, Nursery
from tests.faults.oracle import Findings, judge_deletion, judge_jobs, judge_remains, judge_trials
from tests.faults.person import Person
from tests.faults.proxy import ApiProxy

from controlplane.access import create_namespace, delete_namespace
from controlplane.kubeconfig import write_token_kubeconfig
from controlplane.plane import ControlPlane
from finetune_operator.resources import load_yaml_documents

FILES = {
    "OpenAI": "openai",
    "AzureOpenAI": "azure-openai",
    "VertexAI": "vertex-ai",
    "GoogleAIStudio": "google-ai-studio",
    "Bedrock": "bedrock",
    "Cohere": "cohere",
}
"""The examples by the type of their provider."""
_LOOK_S = 0.15


class World:
    """One namespace. Used with `with`.

    Attributes:
        api: People's way to the API server.
        moments: Everything that the operators do.
        proxy: What stands between the operator and the API server.
        servers: The companies by type.
        person: Answers the operator.
        kills: How many processes were killed at work.
        sweeps: Names of the sweeps that were applied.
        ever: Run keys of all trials that were ever seen, by name.
        trains_here: Whether the provider Local is in use.
    """

    def __init__(self, plane: ControlPlane, nursery: Nursery, folder: Path) -> None:
        self.plane = plane
        self.folder = folder
        self.namespace = create_namespace(plane)
        self.api = ClusterApi(plane, self.namespace)
        self.moments = Moments()
        self.proxy = ApiProxy(plane.server, plane.layout.certificates.authority.public, self.moments)
        self.servers: dict[str, HostedCompany] = {}
        self.by_name: dict[str, HostedCompany] = {}
        self.person = Person(self.api, self.by_name)
        self.kills = 0
        self.sweeps: list[str] = []
        self.ever: dict[str, str] = {}
        self.trains_here = False
        self.operator: Child | None = None
        self._nursery = nursery
        self._token = ""

    def __enter__(self) -> World:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.plane.kubectl("apply", "-f", "-", stdin=rbac_for(self.namespace))
        account = ("create", "token", "finetune-operator", f"--namespace={self.namespace}", "--duration=2h")
        self._token = self.plane.kubectl(*account).stdout.strip()
        self.proxy.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.moments.clear()
        if self.operator is not None:
            self.operator.kill()
        kill_below(self.folder)
        for server in self.servers.values():
            server.__exit__(None, None, None)
        self.proxy.__exit__(None, None, None)
        self.api.close()
        delete_namespace(self.plane, self.namespace)

    # -- the operator ---------------------------------------------------------------------------------------------

    def bear(self, proxy: ApiProxy, name: str = "operator", **limits: int) -> Child:
        """Start an operator behind a proxy; its folder is empty at first and lasts."""
        kubeconfig = write_token_kubeconfig(
            self.folder / f"{name}.kubeconfig",
            proxy.url,
            authority=self.plane.layout.certificates.authority.public,
            token=self._token,
            namespace=self.namespace,
        )
        work_dir = self.folder / name
        return self._nursery.bear(
            *("operator", f"--namespace={self.namespace}", f"--kubeconfig={kubeconfig}"),
            f"--work-dir={work_dir}",
            folder=work_dir,
            log=self.folder / f"{name}.log",
            limits=limits,
        )

    def start(self, **limits: int) -> None:
        """Start the operator; the one before must have ended, and what it had asked for with it.

        Nobody is there for a moment: a call that lay in a network for longer than that is what `list_lag_s` is for.
        """
        assert self.operator is None or not self.operator.running
        self.moments.wait_until_quiet()
        self.operator = self.bear(self.proxy, **limits)

    def kill(self, _: Moment | None = None) -> bool:
        """Kill the operator, and swallow what it had asked; a deed for a moment."""
        if self.operator is not None and self.operator.kill():
            self.kills += 1
            return True
        return False

    def freeze(self) -> None:
        """SIGSTOP: it is there and does nothing, as a node whose disk hangs."""
        assert self.operator is not None
        os.kill(self.operator.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen operator go on."""
        assert self.operator is not None
        os.kill(self.operator.pid, signal.SIGCONT)

    # -- what people do -------------------------------------------------------------------------------------------

    def apply(self, *kinds: str, trials: int = 2, parallel: int = 2, **spec: Any) -> None:
        """Apply examples with fewer trials and a random search; with companies of their own.

        Args:
            *kinds: Types of provider.
            trials: Of each sweep.
            parallel: Of these at once.
            **spec: Further fields of the sweeps' spec.
        """
        for kind in kinds:
            manifests = self._local() if kind == LOCAL else self.manifests(kind)
            for manifest in manifests:
                if manifest["kind"] == "FinetuneSweep":
                    self.sweeps.append(manifest["metadata"]["name"])
                    limits = {"maxTrials": trials, "parallelTrials": parallel}
                    search = {"method": "Random", "seed": 7}
                    manifest["spec"] = {**manifest["spec"], "search": search, "limits": limits, **spec}
            for manifest in manifests:
                self.api.create(manifest)

    def delete_sweeps(self) -> None:
        """Delete all sweeps that are there and are not being deleted."""
        for sweep in self.api.list("FinetuneSweep"):
            if "deletionTimestamp" not in sweep["metadata"]:
                self.api.delete("FinetuneSweep", sweep["metadata"]["name"])

    def manifests(self, kind: str, *, company: Company | None = None) -> list[Raw]:
        """An example's manifests, led to a new server."""
        its = company or COMPANIES[kind]
        manifests = load_yaml_documents((EXAMPLES / f"{FILES[kind]}.yaml").read_text(encoding="utf-8"))
        server = its.server(speed=SPEED).__enter__()
        server.exam = _answers(manifests)
        self.servers[kind] = server
        watch_company(kind, server, self.moments)
        for manifest in manifests:
            if manifest["kind"] != "FinetuneProvider":
                continue
            spec = manifest["spec"]
            spec.update(dict(its.spec(server)))
            spec["options"] = {**spec.get("options", {}), **QUICK}
            spec["requestsPerMinute"] = 6000
            spec["maxConcurrentJobs"] = 8
            self.by_name[manifest["metadata"]["name"]] = server
            secret = {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": spec["credentialsSecretRef"]["name"]},
                "stringData": dict(its.secret(server)),
            }
        return [secret, *manifests]

    def _local(self) -> list[Raw]:
        self.trains_here = True
        return local_manifests(self.folder / "tiny")

    # -- to the end -----------------------------------------------------------------------------------------------

    def run(
        self,
        until: Callable[[], bool] | None = None,
        *,
        within_s: float = PATIENCE_S,
        start: bool = True,
        look: Callable[[], None] = lambda: None,
    ) -> bool:
        """Start the operator whenever it is not there, and answer it, until something holds.

        Args:
            until: What must hold, by default that all sweeps ended and hold nothing.
            within_s: Patience.
            start: Whether a dead operator is started again.
            look: Called at each look.

        Returns:
            Whether it came to hold in time.
        """
        holds = until or self.settled
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if start and (self.operator is None or not self.operator.running):
                self.start()
            try:
                self.person.look(self.trials())
                look()
                if holds():
                    return True
            except (ApiError, ConnectionError, TimeoutError):
                pass  # it is restarted, or somebody was faster
            time.sleep(_LOOK_S)
        return False

    def trials(self) -> list[Raw]:
        """All trials; remembers that they were there."""
        trials = self.api.list("FinetuneTrial")
        for trial in trials:
            self.ever.setdefault(trial["metadata"]["name"], trial["spec"]["runKey"])
        return trials

    def settled(self) -> bool:
        """Whether all sweeps have ended and neither they nor their trials hold anything."""
        sweeps = {each["metadata"]["name"]: each for each in self.api.list("FinetuneSweep")}
        if not all(name in sweeps and _has_ended(sweeps[name]) for name in self.sweeps):
            return False
        return not any(each["metadata"].get("finalizers") for each in [*sweeps.values(), *self.trials()])

    def is_gone(self) -> bool:
        """Whether neither a sweep nor a trial is left."""
        return not self.api.list("FinetuneSweep") and not self.trials()

    def judge(self, *, data_may_stay: bool = False) -> Findings:
        """What is wrong at the end."""
        trials, books = self.trials(), self.books()
        found = judge_jobs(books, trials)
        if not data_may_stay:
            found.add(judge_remains(books))
        for name in self.sweeps:
            sweep = self.api.find("FinetuneSweep", name)
            if sweep is None:
                found.stuck.append(f"sweep {name} is gone")
                continue
            found.add(judge_trials(sweep, trials, ever=self.ever))
            if not _has_ended(sweep):
                found.stuck.append(f"sweep {name}: {sweep.get('status')}")
        return found

    def judge_deletion(self) -> Findings:
        """What is wrong where all sweeps were deleted."""
        found = judge_deletion(self.books())
        left = [*self.api.list("FinetuneSweep"), *self.trials()]
        found.stuck += [f"{each['metadata']['name']} is still there" for each in left]
        return found

    def books(self) -> list[Books]:
        """What was sold by everybody."""
        books = [books_of(server) for server in self.servers.values()]
        return [*books, books_of_machine(self.folder / "operator")] if self.trains_here else books

    def log(self, lines: int = 60) -> str:
        """The end of what the operators wrote."""
        text = (self.folder / "operator.log").read_text("utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def states(self) -> Sequence[Mapping[str, Any]]:
        """How the trials are, for a message."""
        return [{"name": each["metadata"]["name"], **each.get("status", {})} for each in self.trials()]


def _has_ended(sweep: Raw) -> bool:
    return sweep.get("status", {}).get("phase") in {"Succeeded", "Failed"}
