"""Manifests that the models and the API server must judge alike.

Those below `good` are accepted by both. Each below `bad` breaks one rule and begins with three lines:

    # field: path of the field at fault, as the models write it
    # says: what the models' message holds
    # server: what the API server's message holds
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_operator.resources import load_yaml

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Sample:
    """One manifest.

    Attributes:
        path: The file.
        manifest: What is in it.
        field: For a bad one: path of the field at fault.
        says: For a bad one: part of the models' message.
        server: For a bad one: part of the API server's message.
    """

    path: Path
    manifest: dict[str, Any]
    field: str = ""
    says: str = ""
    server: str = ""

    def __str__(self) -> str:
        return self.path.stem


def _read(path: Path) -> Sample:
    text = path.read_text(encoding="utf-8")
    told = dict(re.findall(r"^# (field|says|server): (.+)$", text, re.MULTILINE))
    return Sample(path, load_yaml(text), **told)


GOOD = tuple(_read(path) for path in sorted(_FOLDER.glob("good/*.yaml")))
BAD = tuple(_read(path) for path in sorted(_FOLDER.glob("bad/*.yaml")))


def names_field(server_path: str, field: str) -> bool:
    """Whether the API server means the field at fault.

    It writes `parameters[epochs]` where the models write `parameters.epochs`, and it reports a rule over several
    fields at the field that holds them all, where the models name the one to correct.
    """
    path = re.sub(r"\[([A-Za-z]\w*)\]", r".\1", server_path)
    return field == path or (path != "spec" and field.startswith((f"{path}.", f"{path}[")))
