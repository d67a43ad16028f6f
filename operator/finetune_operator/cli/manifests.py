"""Reading a person's files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from finetune_operator.errors import InvalidManifest, Problem
from finetune_operator.resources import load_yaml_documents

STDIN = "-"


def load_manifests(files: Sequence[str]) -> list[Any]:
    """All documents of YAML or JSON files; `-` is the standard input.

    Raises:
        InvalidManifest: A file cannot be read or is not YAML; names each such file.
    """
    documents: list[Any] = []
    problems: list[Problem] = []
    for file in dict.fromkeys(files):
        name = "standard input" if file == STDIN else file
        try:
            text = sys.stdin.read() if file == STDIN else Path(file).read_text(encoding="utf-8")
            documents += load_yaml_documents(text)
        except OSError as error:
            problems.append(Problem(name, f"cannot be read: {error.strerror}"))
        except UnicodeDecodeError:
            problems.append(Problem(name, "is not text in UTF-8"))
        except yaml.YAMLError as error:
            problems.append(_yaml_problem(name, error))
    if problems:
        # Raised outside the handlers: a YAML error holds the lines around it, which may be a Secret's.
        raise InvalidManifest(tuple(problems))
    return documents


def _yaml_problem(name: str, error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark is not None else name
    return Problem(place, f"is not YAML: {getattr(error, 'problem', None) or 'it cannot be parsed'}")
