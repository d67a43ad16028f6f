"""Exit codes, and how errors become messages for a person."""

from __future__ import annotations

import enum

import click

from finetune_operator.errors import InvalidManifest, SweepError
from finetune_providers.errors import ProviderError


class ExitCode(enum.IntEnum):
    """What a script may rely on."""

    SUCCEEDED = 0
    UNEXPECTED = 1
    REFUSED = 2
    SWEEP_FAILED = 3
    NEEDS_A_PERSON = 4
    NO_MODEL_YET = 5
    INTERRUPTED = 130


EXIT_CODES_HELP = """\b
Exit codes:
  0    the sweep succeeded, the plan is valid, or what was asked for was shown
  1    what was asked for cannot be read: no such sweep, no right, no
       connection; or an unexpected error (--debug shows where)
  2    wrong usage, or the manifest was refused
  3    the sweep ended Failed
  4    the sweep waits for a person: it is stalled or suspended
  5    there is no fine-tuned model (yet)
  130  interrupted
"""


class SafeGroup(click.Group):
    """A group of commands that never shows a traceback unless asked to."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; errors end it with a message and the documented exit code."""
        try:
            return super().invoke(ctx)
        except InvalidManifest as error:
            show_problems(error)
            ctx.exit(ExitCode.REFUSED)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click ends in silence where the reader of a pipe has gone, as after `| head`
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(ExitCode.INTERRUPTED)
        except (SweepError, ProviderError) as error:
            if ctx.params.get("debug"):
                raise
            click.echo(f"Error: {error}", err=True)
            ctx.exit(ExitCode.UNEXPECTED)
        except Exception as error:  # the last line of defence: a person gets a sentence
            if ctx.params.get("debug"):
                raise
            click.echo(f"Unexpected error: {type(error).__name__}: {error} (--debug shows where)", err=True)
            ctx.exit(ExitCode.UNEXPECTED)


def show_problems(error: InvalidManifest) -> None:
    """List what is wrong with a manifest, a line for each problem."""
    click.echo("The manifest was refused:", err=True)
    for problem in error.problems:
        click.echo(f"  {problem}", err=True)
