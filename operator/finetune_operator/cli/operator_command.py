"""`finetune operator`: serve the sweeps of a cluster."""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from finetune_operator.cli.logs import LogFormat, log_to_stderr
from finetune_operator.cli.options import seconds

if TYPE_CHECKING:  # the libraries behind these take seconds to load, and `--help` needs none
    from finetune_operator.cluster.store import KubeStore
    from finetune_operator.lifecycle.engine import Engine
    from finetune_operator.lifecycle.observer import Observer

HELP = """Serve the sweeps of a Kubernetes cluster until told to stop.

Credentials come from the pod's service account, else from a kubeconfig. SIGTERM and Ctrl-C stop in order:
what was bought is written down first.

\b
Examples:
  finetune operator --all-namespaces
  finetune operator --namespace team-a --namespace team-b --work-dir /var/lib/finetune
  finetune operator --namespace default --kubeconfig ~/.kube/config --context kind-kind

\b
Exit codes:
  0    it was told to stop, and has written down what was under way
  1    no credentials, no right, an address that cannot be served at; or an
       unexpected error (--debug shows where)
  2    wrong usage
"""


# `kubectl apply` and GitOps tools may apply a sweep just before its provider and its data.
_REFERENCE_GRACE_S = 30.0


@click.command(name="operator", help=HELP)
@click.option("-n", "--namespace", "namespaces", multiple=True, help="Serve this namespace; may be repeated.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Serve all namespaces.")
@click.option(
    "--kubeconfig", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A kubeconfig."
)
@click.option("--context", "kube_context", help="A context of the kubeconfig, instead of its current one.")
@click.option(
    "--work-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".finetune/operator"),
    envvar="FINETUNE_WORK_DIR",
    show_default=True,
    show_envvar=True,
    help="Folder for datasets, answers and training on this machine; it should last.",
)
@click.option(
    "--allow-private-datasets",
    is_flag=True,
    envvar="FINETUNE_ALLOW_PRIVATE_DATASETS",
    show_envvar=True,
    help="Let sweeps name http(s) datasets at private, loopback and link-local addresses. Whoever may write a sweep "
    "can then have the operator ask any host that it reaches.",
)
@click.option(
    "--trust-endpoints",
    is_flag=True,
    envvar="FINETUNE_TRUST_ENDPOINTS",
    show_envvar=True,
    help="Let FinetuneProviders without a Secret work with the operator's own cloud identity at endpoints that they "
    "name. Whoever may write a FinetuneProvider can then have its tokens sent to a host of theirs.",
)
@click.option(
    "--release-within",
    metavar="DURATION",
    default="24h",
    envvar="FINETUNE_RELEASE_WITHIN",
    show_default=True,
    show_envvar=True,
    callback=lambda context, parameter, value: seconds(value),
    help="For how long a deleted trial waits where its job cannot be cancelled, as its provider is down or its Secret "
    "is gone; such as 30m or 48h. Then it is let go, and an event names what may go on and cost.",
)
@click.option(
    "--liveness",
    metavar="URL",
    help="Serve health checks here, such as http://0.0.0.0:8080/healthz: whether the process is alive; at /readyz of "
    "the same port, whether it serves.",
)
@click.option(
    "--metrics", metavar="URL", help="Serve metrics for Prometheus here, such as http://0.0.0.0:9090/metrics."
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    envvar="FINETUNE_LOG_FORMAT",
    show_default=True,
    show_envvar=True,
    help="How log lines are written; json has the namespace, sweep, trial, job and provider as fields.",
)
def operator_command(  # noqa: PLR0913 (one parameter for each option)
    *,
    namespaces: tuple[str, ...],
    all_namespaces: bool,
    kubeconfig: Path | None,
    kube_context: str | None,
    work_dir: Path,
    allow_private_datasets: bool,
    trust_endpoints: bool,
    release_within: float,
    liveness: str | None,
    metrics: str | None,
    log_format: LogFormat,
) -> None:
    """Serve the sweeps of a cluster."""
    if bool(namespaces) == all_namespaces:
        raise click.UsageError(
            "say which sweeps to serve: --namespace NAME (may be repeated) or --all-namespaces"
        )
    log_to_stderr(logging.INFO, form=log_format, libraries=True)
    options = _EngineOptions(
        work_dir=work_dir,
        private_datasets=allow_private_datasets,
        trust_endpoints=trust_endpoints,
        release_within_s=release_within,
    )
    asyncio.run(
        _serve(namespaces, kubeconfig, kube_context, options=options, liveness=liveness, metrics=metrics)
    )


@dataclass(frozen=True, slots=True)
class _EngineOptions:
    """What the engine is told on the command line; the options' help says what each means."""

    work_dir: Path
    private_datasets: bool
    trust_endpoints: bool
    release_within_s: float


async def _serve(
    namespaces: tuple[str, ...],
    kubeconfig: Path | None,
    kube_context: str | None,
    *,
    options: _EngineOptions,
    liveness: str | None,
    metrics: str | None,
) -> None:
    import prometheus_client

    from finetune_operator.cluster.access import ClusterAccess
    from finetune_operator.cluster.operator import run_operator
    from finetune_operator.cluster.telemetry import Telemetry

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    # A series beside each counter and histogram, which nobody asks for.
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    telemetry = Telemetry()

    def make_engine(store: KubeStore) -> Engine:
        engine = _engine_over(store, options, observer=telemetry.metrics)
        telemetry.attach(lambda: engine.vitals())  # noqa: PLW0108 (asked for when it is needed, not before)
        return engine

    await run_operator(
        make_engine,
        access=ClusterAccess(kubeconfig=kubeconfig, context=kube_context),
        stop=stop,
        namespaces=namespaces,
        liveness=liveness,
        metrics=metrics,
        telemetry=telemetry,
    )


def _engine_over(store: KubeStore, options: _EngineOptions, *, observer: Observer) -> Engine:
    from finetune_operator.evaluation import IN_A_CLUSTER
    from finetune_operator.lifecycle.engine import Engine
    from finetune_providers import registry

    return Engine(
        store=store,
        work_dir=options.work_dir,
        make_provider=lambda config: registry.create(replace(config, lends_identity=options.trust_endpoints)),
        # A manifest must read neither the files of the operator's own machine nor what its network alone can reach.
        dataset_rules=replace(IN_A_CLUSTER, private_addresses=options.private_datasets),
        reference_grace_s=_REFERENCE_GRACE_S,
        release_within_s=options.release_within_s,
        observer=observer,
    )
