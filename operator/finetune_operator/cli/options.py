"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

STATE_FOLDERS = Path(".finetune")
"""Where `finetune run` keeps the states of sweeps, by name, unless it is told otherwise."""

FILES = click.argument(
    "files",
    metavar="FILE...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
)
OUTPUT = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="What to print: a table for people, or JSON for programs.",
)


def seconds(duration: str) -> float:
    """A duration as manifests write it, in seconds.

    Raises:
        click.BadParameter: It is none.
    """
    from finetune_operator.resources.sweep import parse_duration

    try:
        return parse_duration(duration).total_seconds()
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


IN_CLUSTER = "finetune_operator.in_cluster"
"""Key of the context's `meta` that `kubectl finetune` sets."""


def is_kubectl(ctx: click.Context) -> bool:
    """Whether a person typed `kubectl finetune`, and so means a cluster."""
    return bool(ctx.meta.get(IN_CLUSTER))
