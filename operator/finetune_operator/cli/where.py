"""Where a command looks for sweeps: the options that say so, the same for all commands."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from finetune_operator.cli.options import STATE_FOLDERS
from finetune_operator.cli.reader import SweepReader
from finetune_operator.errors import SweepError

WHERE_HELP = """\b
Where it looks:
  a cluster, as for kubectl: $KUBECONFIG or ~/.kube/config, its current
  context, the context's namespace; -n, --context, --kubeconfig override that
  --state DIR   a state folder of finetune run, or a folder of several
"""


@dataclass(frozen=True, slots=True)
class Where:
    """What a person said of where to look.

    Attributes:
        state: A state folder, or a folder that holds several; None for a cluster.
        namespace: A namespace, instead of the context's.
        kubeconfig: A kubeconfig file.
        context: A context of the kubeconfig.
        everywhere: Look in all namespaces.
    """

    state: Path | None = None
    namespace: str | None = None
    kubeconfig: Path | None = None
    context: str | None = None
    everywhere: bool = False

    @property
    def names_a_cluster(self) -> bool:
        """Whether something was said that only a cluster has."""
        return self.everywhere or any(
            each is not None for each in (self.namespace, self.kubeconfig, self.context)
        )


_COMPLETE_WITHIN_S = 3.0

Command = Callable[..., None]


def where_options(command: Command) -> Command:
    """Give a command's function `where`, from --state, -n, --kubeconfig and --context."""

    @click.option("-n", "--namespace", help="The namespace.  [default: the context's]")
    @click.option(
        "--context", "kube_context", help="A context of the kubeconfig, instead of its current one."
    )
    @click.option(
        "--kubeconfig", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A kubeconfig."
    )
    @click.option(
        "--state",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="A state folder of finetune run, instead of a cluster.",
    )
    @functools.wraps(command)
    def with_where(
        *arguments: object,
        state: Path | None,
        namespace: str | None,
        kubeconfig: Path | None,
        kube_context: str | None,
        all_namespaces: bool = False,
        **more: object,
    ) -> None:
        where = Where(state, namespace, kubeconfig, kube_context, all_namespaces)
        if state is not None and where.names_a_cluster:
            raise click.UsageError("--state is for a folder: leave out what is for a cluster")
        if all_namespaces and namespace is not None:
            raise click.UsageError("give a namespace or --all-namespaces, not both")
        command(*arguments, where=where, **more)

    return with_where


@asynccontextmanager
async def reader_of(where: Where) -> AsyncIterator[SweepReader]:
    """A reader of what was named, closed at the end.

    Raises:
        NoCluster: A cluster is meant, and nothing says how to reach one.
    """
    reader = await _open(where)
    try:
        yield reader
    finally:
        await reader.close()


async def _open(where: Where) -> SweepReader:
    if where.state is not None:
        from finetune_operator.cli.folder_reader import FolderReader

        return FolderReader(where.state)
    from finetune_operator.cli.cluster_reader import ClusterReader
    from finetune_operator.cluster.access import ClusterAccess, NoCluster

    access = ClusterAccess(kubeconfig=where.kubeconfig, context=where.context)
    try:
        namespace = None if where.everywhere else where.namespace or access.namespace()
        return await ClusterReader.connect(access, namespace)
    except NoCluster as error:
        if where.names_a_cluster or not STATE_FOLDERS.is_dir():
            raise
        raise NoCluster(f"{error}; for sweeps of this machine: --state {STATE_FOLDERS}") from error


def sweep_or_state(where: Where, name: str | None, *, in_cluster: bool) -> tuple[Where, str | None]:
    """Where to look for what may be a sweep's name or, without more said, a state folder of this machine.

    Args:
        where: What the options say.
        name: A sweep or a folder; None for the only one of `.finetune`, or of the namespace.
        in_cluster: Whether a cluster is meant unless something else is said.
    """
    if in_cluster or where.state is not None or where.names_a_cluster:
        return where, name
    if name is None:
        return Where(state=_only_state_folder()), None
    if Path(name).is_dir():
        return Where(state=Path(name)), None
    if len(Path(name).parts) > 1:
        raise click.UsageError(f"there is no folder {name}")
    return where, name


def _only_state_folder() -> Path:
    found = sorted(path for path in STATE_FOLDERS.glob("*") if path.is_dir())
    if len(found) == 1:
        return found[0]
    if not found:
        raise click.UsageError(f"no sweep was run in this folder ({STATE_FOLDERS} holds none): name STATE")
    raise click.UsageError(f"name one of {', '.join(str(path) for path in found)}")


def complete_sweep(ctx: click.Context, _: click.Parameter, unfinished: str) -> list[str]:
    """Names of sweeps for a shell that completes a word; none where they cannot be read."""
    said = ctx.params
    where = Where(said.get("state"), said.get("namespace"), said.get("kubeconfig"), said.get("kube_context"))

    async def names() -> list[str]:
        async with asyncio.timeout(_COMPLETE_WITHIN_S), reader_of(where) as reader:
            return [sweep.name for sweep in await reader.sweeps()]

    try:
        return [name for name in asyncio.run(names()) if name.startswith(unfinished)]
    except (SweepError, TimeoutError):
        return []


SWEEP = click.argument("sweep", required=False, shell_complete=complete_sweep)
"""The argument that names a sweep."""
