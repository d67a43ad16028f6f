"""Datasets, which stay on this machine until a create call takes them along."""

from __future__ import annotations

import shutil
from pathlib import Path

from finetune_providers.base import DatasetFile
from finetune_providers.conversations import upload_name, write_converted
from finetune_providers.errors import TransientProviderError


class Datasets:
    """A folder of copies, one below it for each scope. All methods block."""

    def __init__(self, folder: Path) -> None:
        """Keep them in a folder, which is made when there is something to keep."""
        self._folder = folder

    def keep(self, dataset: DatasetFile) -> str:
        """Keep a copy, as it is: it is converted by the create call, and validation data need not be convertible."""
        reference = f"{dataset.scope}/{upload_name(dataset, dialect='canonical')}"
        target = self.path(reference)
        if not target.exists():
            write_converted(dataset, target, lambda messages: {"messages": messages})
        return reference

    def path(self, reference: str) -> Path:
        """Where a copy lies."""
        return self._folder / reference

    def delete(self, scope: str) -> None:
        """Delete the copies of a scope.

        Raises:
            TransientProviderError: They are still there.
        """
        try:
            shutil.rmtree(self._folder / scope)
        except FileNotFoundError:
            return
        except OSError as error:
            message = f"{self._folder / scope} cannot be deleted: {error.strerror}"
            raise TransientProviderError(message) from error
