"""The `finetune` command."""

from finetune_operator.cli.app import main

__all__ = ["main"]
