"""Errors that every layer may raise, named by what the reader must do next."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a manifest.

    Attributes:
        field: Path of the field, such as `spec.candidates[0].parameters.epochs`.
        message: What is wrong, what is allowed, what to do.
        missing: Whether something that is referred to is not there (yet); it may turn up.
    """

    field: str
    message: str
    missing: bool = False

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class SweepError(Exception):
    """Base of the errors of the operator itself."""


class InvalidManifest(SweepError):
    """A manifest asks for something that is not allowed.

    Attributes:
        problems: Everything found wrong, in the order of the manifest.
    """

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


class DatasetUnavailable(SweepError):
    """A dataset could not be read now; trying again later may help.

    Attributes:
        field: Path of the field that names it.
    """

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field
