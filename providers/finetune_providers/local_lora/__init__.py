"""Real LoRA fine-tuning on this machine: one process per trial, jobs kept in a folder.

Nothing imported from here loads torch: the operator's process stays small and cannot be taken down by a trial.
"""

from finetune_providers.local_lora.provider import LocalProvider, create

__all__ = ["LocalProvider", "create"]
