"""For each alert: what makes it fire, what it then says, and what is close to that and does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

P = "finetune_operator_"
_SWEEP = 'namespace="team",sweep="support"'
_PROVIDER = 'namespace="team",provider="acme",type="OpenAI"'


@dataclass(frozen=True, slots=True)
class Case:
    """One alert.

    Attributes:
        fires: Series, in promtool's notation of a value a minute, by which it fires.
        at: When it has fired.
        summary: What it says then.
        labels: Its labels beside the severity.
        alert: Its name, where that is not the case's.
        quiet: Series by which it does not fire.
        later: When it has ended by itself, with the same series.
    """

    fires: Mapping[str, str]
    at: str
    summary: str
    quiet: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)
    severity: str = "warning"
    alert: str = ""
    later: str | None = None


_TEAM = {"namespace": "team", "sweep": "support"}
_ACME = {"namespace": "team", "provider": "acme", "type": "OpenAI"}


def _money(spent: int, phase: str) -> dict[str, str]:
    return {
        f'{P}sweep_spent{{{_SWEEP},currency="EUR"}}': f"{spent}x30",
        f'{P}sweep_reserved{{{_SWEEP},currency="EUR"}}': "5x30",
        f'{P}sweep_budget{{{_SWEEP},currency="EUR"}}': "100x30",
        f'{P}sweep_phase{{{_SWEEP},phase="{phase}"}}': "1x30",
    }


def _requests(method: str, outcome: str) -> dict[str, str]:
    labels = f'method="{method}",resource="finetunetrials",outcome="{outcome}"'
    return {f"{P}kubernetes_requests_total{{{labels}}}": "0+6x60"}


CASES: Mapping[str, Case] = {
    "FinetuneOperatorDown": Case(
        fires={},
        at="10m",
        summary="No finetune-operator is scraped.",
        severity="critical",
        quiet={f'{P}build_info{{version="1"}}': "1x30"},
    ),
    "FinetuneOperatorDown of one of several": Case(
        alert="FinetuneOperatorDown",
        fires={
            f'{P}build_info{{version="1",namespace="a",job="ops"}}': "1x10 stale",
            f'{P}build_info{{version="1",namespace="b",job="ops"}}': "1x3000",
        },
        at="20m",
        summary="The operator a/ops is no longer scraped.",
        labels={"namespace": "a", "job": "ops"},
        severity="critical",
        quiet={
            # It was replaced, by another version.
            f'{P}build_info{{version="1",pod="old",namespace="a",job="ops"}}': "1x10 stale",
            f'{P}build_info{{version="2",pod="new",namespace="a",job="ops"}}': "_x12 1x30",
        },
        later="25h",
    ),
    "FinetuneOperatorDown of the only one": Case(
        alert="FinetuneOperatorDown",
        fires={f'{P}build_info{{version="1",job="ops"}}': "1x10 stale"},
        at="20m",
        summary="The operator ops is no longer scraped.",
        labels={"job": "ops"},
        severity="critical",
        quiet={f'{P}build_info{{version="1",job="ops"}}': "1x10 _x3 1x30"},
    ),
    "FinetuneOperatorNotReady": Case(
        fires={f"{P}ready": "0x30"},
        at="20m",
        summary="The operator does not follow the cluster.",
        quiet={f"{P}ready": "0x10 1x20"},
    ),
    "FinetuneQueueNotDrained": Case(
        fires={f"{P}queue_oldest_seconds": "600x30"},
        at="15m",
        summary="Work waits for 10m 0s.",
        quiet={f"{P}queue_oldest_seconds": "200x30"},
    ),
    "FinetuneWritesFail": Case(
        fires=_requests("PATCH", "Refused"),
        at="20m",
        summary="Writes of finetunetrials end as Refused.",
        labels={"resource": "finetunetrials", "outcome": "Refused"},
        quiet={**_requests("PATCH", "Conflict"), **_requests("GET", "StoreUnavailable")},
    ),
    "FinetunePollTooOld": Case(
        fires={f"{P}last_poll_age_seconds{{{_PROVIDER}}}": "0+60x60"},
        at="40m",
        summary="Jobs of team/acme were not seen for 40m 0s.",
        labels=_ACME,
        quiet={f"{P}last_poll_age_seconds{{{_PROVIDER}}}": "300x60"},
    ),
    "FinetuneProviderNotAccepted": Case(
        fires={f"{P}provider_accepted{{{_PROVIDER}}}": "0x30"},
        at="20m",
        summary="FinetuneProvider team/acme cannot be used.",
        labels=_ACME,
        quiet={f"{P}provider_accepted{{{_PROVIDER}}}": "0x5 1x30"},
    ),
    "FinetuneTrialStalled": Case(
        fires={f'{P}trials{{{_SWEEP},phase="Stalled"}}': "2x30"},
        at="10m",
        summary="2 trials of team/support need a person.",
        labels=_TEAM,
        quiet={f'{P}trials{{{_SWEEP},phase="Training"}}': "2x30"},
    ),
    "FinetuneSweepFailed": Case(
        fires={f'{P}sweep_phase{{{_SWEEP},phase="Failed"}}': "1x2000"},
        at="5m",
        summary="Sweep team/support failed.",
        labels={**_TEAM, "phase": "Failed"},
        quiet={f'{P}sweep_phase{{{_SWEEP},phase="Succeeded"}}': "1x30"},
        later="25h",
    ),
    "FinetuneSweepNotReadable": Case(
        fires={f'{P}unreadable_objects{{kind="FinetuneSweep"}}': "1x30"},
        at="20m",
        summary="1 objects of kind FinetuneSweep cannot be read.",
        labels={"kind": "FinetuneSweep"},
        quiet={f'{P}unreadable_objects{{kind="FinetuneSweep"}}': "1x5 _x30"},
    ),
    "FinetuneQuotaWaitLong": Case(
        fires={f'{P}trials_waiting{{{_SWEEP},reason="WaitingForQuota"}}': "3x500"},
        at="7h",
        summary="3 trials of team/support have waited for a quota for hours.",
        labels={**_TEAM, "reason": "WaitingForQuota"},
        quiet={f'{P}trials_waiting{{{_SWEEP},reason="WaitingForSlot"}}': "3x500"},
    ),
    "FinetuneProviderNotReached": Case(
        fires={f'{P}trials_waiting{{{_SWEEP},reason="ProviderNotReached"}}': "3x100"},
        at="70m",
        summary="3 trials of team/support cannot reach their provider.",
        labels={**_TEAM, "reason": "ProviderNotReached"},
        quiet={f'{P}trials_waiting{{{_SWEEP},reason="ProviderNotReached"}}': "3x50 _x50"},
    ),
    "FinetuneBudgetNearlySpent": Case(
        fires=_money(90, "Searching"),
        at="10m",
        summary="Sweep team/support has committed 95% of its budget.",
        labels={**_TEAM, "currency": "EUR"},
        quiet=_money(90, "Succeeded"),
    ),
    "FinetuneReleaseBlocked": Case(
        fires={f"{P}trials_release_blocked{{{_SWEEP}}}": "1x100"},
        at="70m",
        summary="1 deleted trials of team/support cannot cancel their jobs.",
        labels=_TEAM,
        quiet={f"{P}trials_release_blocked{{{_SWEEP}}}": "1x30 _x50"},
    ),
}
