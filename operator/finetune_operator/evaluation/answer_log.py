"""What a model has answered so far, kept so that an interrupted evaluation pays for no answer twice."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from finetune_providers.plain_files import append_to_plain_file, read_plain_file

MOST_BYTES = 256 * 2**20
"""Of answers that a log may hold; further ones are kept in memory alone, and asked again after a restart."""


def asked_of(namespace: str, provider: str, model: str, max_output_tokens: int) -> str:
    """Whose answers a log holds: the same name may mean another model elsewhere, and a longer answer is another one."""
    return f"{namespace}/{provider}/{model}/{max_output_tokens}"


class AnswerLog:
    """Answers of one model to one dataset, by the example's index.

    The file is append-only JSONL, `{"index": 3, "answer": "..."}` a line. A line that a crash cut short is
    ignored, and its example asked again. Only one process may write to a log.
    """

    def __init__(self, path: Path | None = None) -> None:
        """Read what there is. Blocking.

        Args:
            path: The file; None keeps the answers in memory only.

        Raises:
            OSError: The file cannot be read, is too large, or something else lies in its place.
        """
        self._path = path
        self._lock = threading.Lock()
        self._answers: dict[int, str] = {}
        self._torn = False
        self._size = 0
        if path is not None and os.path.lexists(path):
            content = _content_of(path)
            self._size = len(content)
            self._torn = bool(content) and not content.endswith(b"\n")
            for line in content.split(b"\n"):
                self._restore(line)

    @classmethod
    def open(cls, folder: Path | None, *, dataset_hash: str, model: str) -> AnswerLog:
        """The log of a model's answers to a dataset; with no folder, one in memory. Blocking.

        Args:
            folder: Where the logs of all models lie; made if it is missing.
            dataset_hash: `content_hash` of the evaluation dataset.
            model: Id of the model that answers.
        """
        if folder is None:
            return cls()
        folder.mkdir(parents=True, exist_ok=True)
        key = hashlib.sha256(json.dumps([dataset_hash, model]).encode()).hexdigest()[:32]
        path = folder / f"{key}.jsonl"
        log = cls(path)
        if path.exists():
            os.utime(path)  # what is used is not cleaned up
        return log

    @property
    def answers(self) -> Mapping[int, str]:
        """Everything answered so far, by the example's index."""
        return self._answers

    def record(self, answers: Mapping[int, str]) -> None:
        """Keep answers. Blocking; whole batches are written at once.

        Raises:
            OSError: The file cannot be written.
        """
        with self._lock:
            if self._path is not None:
                self._append(answers)
            self._answers |= answers

    def _append(self, answers: Mapping[int, str]) -> None:
        lines = [json.dumps({"index": index, "answer": answer}) for index, answer in answers.items()]
        text = (("\n" if self._torn else "") + "\n".join(lines) + "\n").encode()
        if self._path is None or self._size + len(text) > MOST_BYTES:
            return
        with append_to_plain_file(self._path) as stream:
            stream.write(text)
        self._size += len(text)
        self._torn = False

    def _restore(self, line: bytes) -> None:
        try:
            record = json.loads(line)
        except (RecursionError, ValueError):  # cut short by a crash; its example is asked again
            return
        if (
            isinstance(record, dict)
            and isinstance(record.get("index"), int)
            and isinstance(record.get("answer"), str)
        ):
            self._answers[record["index"]] = record["answer"]


def _content_of(path: Path) -> bytes:
    try:
        return read_plain_file(path, most=MOST_BYTES)
    except OSError as error:
        why = f"it cannot be used: {error.strerror}. Move it away, and its model is asked again"
        raise OSError(error.errno, why, str(path)) from error
