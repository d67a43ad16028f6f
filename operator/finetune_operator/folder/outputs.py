"""The ConfigMaps that applications read, as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from finetune_operator.folder.errors import StateFolderError
from finetune_operator.folder.files import file_name, write_atomically
from finetune_operator.folder.shelf import read_mapping
from finetune_operator.lifecycle.store import NotFound, Refused, StoreUnavailable
from finetune_operator.resources import FinetuneSweep, dump_yaml
from finetune_operator.resources.labels import SWEEP_LABEL, label_value


class Outputs:
    """The folder of what sweeps give out."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> Mapping[str, str] | None:
        """The values of one, or None where there is none.

        Raises:
            NotFound: Its file cannot be read.
        """
        path = self._folder / file_name(name)
        if not _is_there(path):
            return None
        try:
            data = read_mapping(path).get("data")
        except StateFolderError as error:
            raise NotFound(str(error)) from error
        return data if isinstance(data, dict) else {}

    def write(self, sweep: FinetuneSweep, name: str, data: Mapping[str, str]) -> None:
        """Create or replace one; no write where nothing differs.

        Raises:
            Refused: It is there and was not written for this sweep.
            StoreUnavailable: The disk would not have it.
        """
        path = self._folder / file_name(name)
        wanted = _manifest(sweep, name, data)
        if _is_there(path):
            found = _found(path)
            if found == wanted:
                return
            if not _was_written_for(sweep, found):
                raise Refused(
                    f"{path} is there and was not written for sweep {sweep.name}: name another one in "
                    "spec.output.configMap, or move it away"
                )
        try:
            write_atomically(path, dump_yaml(wanted))
        except OSError as error:
            raise StoreUnavailable(f"{path} could not be written: {error.strerror}") from error


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()  # one that leads nowhere is there, too


def _found(path: Path) -> Mapping[str, object]:
    try:
        return read_mapping(path)
    except StateFolderError as error:
        raise Refused(str(error)) from error


def _was_written_for(sweep: FinetuneSweep, found: Mapping[str, object]) -> bool:
    """Whether a sweep of this name wrote it, be it one that was deleted since: the same rule as in a cluster."""
    metadata = found.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    written_for = labels.get(SWEEP_LABEL) if isinstance(labels, Mapping) else None
    return found.get("kind") == "ConfigMap" and written_for == label_value(sweep.name)


def _manifest(sweep: FinetuneSweep, name: str, data: Mapping[str, str]) -> dict[str, object]:
    labels = {SWEEP_LABEL: label_value(sweep.name)}
    metadata = {"name": name, "namespace": sweep.metadata.namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data)}
