"""The `finetune` command, and `kubectl finetune`."""

from finetune_operator.cli.app import main
from finetune_operator.cli.kubectl import complete_main, kubectl_main

__all__ = ["complete_main", "kubectl_main", "main"]
