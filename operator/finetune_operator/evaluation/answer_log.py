"""What a model has answered so far, kept so that an interrupted evaluation pays for no answer twice."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path


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
            OSError: The file cannot be read.
        """
        self._path = path
        self._lock = threading.Lock()
        self._answers: dict[int, str] = {}
        self._torn = False
        if path is not None and path.exists():
            content = path.read_bytes()
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
        if path.exists():
            os.utime(path)  # what is used is not cleaned up
        return cls(path)

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
        text = ("\n" if self._torn else "") + "\n".join(lines) + "\n"
        if self._path is not None:
            with self._path.open("ab") as stream:
                stream.write(text.encode())
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
