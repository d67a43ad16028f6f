"""What the provider must know again after a crash, as files that appear whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from finetune_example_provider.words import Weights
from finetune_providers.base import JobRequest, JobSnapshot
from finetune_providers.errors import JobNotFound


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it was asked for, and as it is."""

    request: JobRequest
    snapshot: JobSnapshot


class Files:
    """The account's folder. Every call blocks."""

    def __init__(self, folder: Path) -> None:
        self.data, self._jobs, self._models = folder / "data", folder / "jobs", folder / "models"
        self._form = TypeAdapter(Job)

    def add(self, job: Job) -> None:
        """Write a job down, unless there is one of this id."""
        new = _written(self._jobs, self._form.dump_json(job))
        with suppress(FileExistsError):
            os.link(new, self._jobs / job.snapshot.job_id)
        new.unlink()

    def write(self, job: Job) -> None:
        """Write down how a job is now."""
        _written(self._jobs, self._form.dump_json(job)).replace(self._jobs / job.snapshot.job_id)

    def read(self, job_id: str) -> Job | None:
        """A job; None where there is none."""
        file = self._jobs / Path(job_id).name
        if file.name != job_id or not file.is_file():
            return None
        return self._form.validate_json(file.read_bytes())

    def learned(self, model: str, weights: Weights) -> None:
        """Keep a model."""
        _written(self._models, json.dumps(weights).encode()).replace(self._models / model)

    def weights(self, model: str) -> Weights:
        """A model that was kept."""
        try:
            weights: Weights = json.loads((self._models / Path(model).name).read_bytes())
        except OSError:
            raise JobNotFound(f"there is no model {model}") from None
        return weights

    def forget(self, model: str) -> None:
        """Delete a model, if it is there."""
        (self._models / Path(model).name).unlink(missing_ok=True)


def _written(folder: Path, content: bytes) -> Path:
    """A new file in a folder, which is made, with a name that no job has."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".new-", delete=False) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return Path(file.name)
