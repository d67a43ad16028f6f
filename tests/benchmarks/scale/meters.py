"""What is read off: the API server's own counters and log, the operator's process, quantiles."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

OWN_GROUP = "finetune-operator.dev"
_ALSO = frozenset({"events", "configmaps", "secrets"})
_WRITES = {"POST", "PUT", "PATCH", "DELETE", "APPLY"}
_SAMPLE = re.compile(r"^apiserver_request_total\{(?P<labels>[^}]*)\} (?P<value>\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')

Figures = dict[str, Any]
"""What one case came to."""

Calls = Counter[tuple[str, str]]
"""Requests by verb (`WRITE`, `READ`) and resource, with its part, such as `finetunetrials/status`."""


def calls_of(metrics: str) -> Calls:
    """What the API server says it was asked for, of the kinds that the operator works with."""
    calls: Calls = Counter()
    for sample in _SAMPLE.finditer(metrics):
        labels = dict(_LABEL.findall(sample["labels"]))
        resource = labels.get("resource", "")
        if labels.get("group") != OWN_GROUP and resource not in _ALSO:
            continue
        verb = labels.get("verb", "")
        if verb in {"WATCH", "CONNECT"}:
            continue
        part = f"/{labels['subresource']}" if labels.get("subresource") else ""
        calls["WRITE" if verb in _WRITES else "READ", resource + part] += int(float(sample["value"]))
    return calls


def total(calls: Calls, verb: str, *resources: str) -> int:
    """All calls of a verb, to resources that begin so; to all where none is named."""
    begins = resources or ("",)
    return sum(count for (of, what), count in calls.items() if of == verb and what.startswith(begins))


@dataclass(frozen=True)
class Usage:
    """What a process has used.

    Attributes:
        cpu_s: CPU seconds of all its threads.
        peak_mb: Most memory that was resident, in MB.
    """

    cpu_s: float
    peak_mb: float


def usage_of(pid: int) -> Usage:
    """What a process has used so far."""
    times = psutil.Process(pid).cpu_times()
    text = Path(f"/proc/{pid}/status").read_text("ascii")
    peak = re.search(r"^VmHWM:\s+(\d+) kB", text, re.MULTILINE)
    assert peak is not None
    return Usage(times.user + times.system, int(peak[1]) / 1024)


def trial_ends(audit_log: Path) -> Mapping[str, float]:
    """When each trial's end was written: the last write of its status before its finalizer was taken away."""
    written: dict[str, float] = {}
    ended: dict[str, float] = {}
    for verb, name, part, at in _writes_of_trials(audit_log):
        if verb == "patch" and part == "status":
            written[name] = at
        elif verb == "patch" and name in written:
            ended.setdefault(name, written[name])
    return ended


def _writes_of_trials(audit_log: Path) -> Iterator[tuple[str, str, str, float]]:
    with audit_log.open(encoding="utf-8") as lines:
        for line in lines:
            if '"finetunetrials"' not in line or '"patch"' not in line:
                continue
            entry = json.loads(line)
            of = entry["objectRef"]
            at = datetime.fromisoformat(entry["stageTimestamp"].replace("Z", "+00:00")).timestamp()
            if entry.get("responseStatus", {}).get("code") == 200:
                yield entry["verb"], of["name"], of.get("subresource", ""), at


def quantile(values: Sequence[float], share: float) -> float | None:
    """The value below which a share of all lies; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def load() -> float:
    """How many processes want a CPU, of the last minute."""
    return os.getloadavg()[0]
