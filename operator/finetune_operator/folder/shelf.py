"""Objects of one kind: held in memory, and each change written through to a file before it counts."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml

from finetune_operator.errors import InvalidManifest
from finetune_operator.folder.errors import StateFolderError
from finetune_operator.folder.files import file_name, remove_file, write_atomically
from finetune_operator.lifecycle.store import Conflict, NotFound, StoreUnavailable
from finetune_operator.resources import (
    ObjectMeta,
    Resource,
    dump_yaml,
    load_yaml,
    parse_resource,
)
from finetune_providers.plain_files import read_plain_file

R = TypeVar("R", bound=Resource)
Clock = Callable[[], datetime]

_END = "...\n"
"""YAML's end of a document: a file that an incomplete copy cut off does not pass for a shorter one."""


class Shelf(Generic[R]):
    """The objects of one kind.

    Resource versions count up from 1 for each object; the random uid tells an object from a later one of the
    same name.
    """

    def __init__(self, kind: type[R], path_of: Callable[[str], Path]) -> None:
        self._kind = kind
        self._path_of = path_of
        self._objects: dict[str, R] = {}

    def load(self, path: Path) -> R:
        """Take in an object from the file that an earlier process wrote.

        Raises:
            StateFolderError: The file cannot be read or was not written by this store.
        """
        resource = read_file(self._kind, path)
        self._objects[resource.name] = resource
        return resource

    def get(self, name: str) -> R | None:
        """The object, or None."""
        return self._objects.get(name)

    def all(self) -> tuple[R, ...]:
        """All objects, in no particular order."""
        return tuple(self._objects.values())

    def add(self, resource: R, *, clock: Clock) -> R:
        """Keep a new object, with the metadata that an API server gives to one."""
        born = {
            "uid": str(uuid.uuid4()),
            "generation": 1,
            "resource_version": "1",
            "creation_timestamp": clock(),
            "deletion_timestamp": None,
        }
        metadata = resource.metadata.model_copy(update=born)
        return self._put(resource.model_copy(update={"metadata": metadata}))

    def current(self, seen: R) -> R:
        """The object as it is now, which must be as it was seen.

        Raises:
            NotFound: It is gone.
            Conflict: It was changed since, or replaced by another one.
        """
        stored = self._objects.get(seen.name)
        if stored is None:
            raise NotFound(f"{self._kind.__name__} {seen.name} is gone")
        was, now = seen.metadata, stored.metadata
        if (was.uid, was.resource_version) != (now.uid, now.resource_version):
            versions = f"version {was.resource_version}, now {now.resource_version}"
            raise Conflict(f"{self._kind.__name__} {seen.name} was changed since it was read ({versions})")
        return stored

    def replace(self, stored: R, *, bump: bool = False, **fields: Any) -> tuple[R, bool]:
        """Change fields of an object; no write where nothing differs.

        Args:
            stored: The object as it is now.
            bump: Whether the change is one of what is asked for: a new generation.
            fields: New values of `metadata`, `spec` or `status`.

        Returns:
            The object as it stands in its file, and whether it was written.
        """
        wanted = self._normal(stored.model_copy(update=fields))
        # As text, because NaN, which a training that diverged reports, differs from itself.
        if repr(wanted) == repr(stored):
            return stored, False
        numbers = {
            "resource_version": str(int(stored.metadata.resource_version or 0) + 1),
            "generation": (stored.metadata.generation or 0) + bump,
        }
        metadata = wanted.metadata.model_copy(update=numbers)
        return self._put(wanted.model_copy(update={"metadata": metadata})), True

    def remove(self, name: str) -> None:
        """Remove an object with its file."""
        try:
            remove_file(self._path_of(name))
        except OSError as error:
            raise StoreUnavailable(f"{self._path_of(name)} could not be removed: {error.strerror}") from error
        del self._objects[name]

    def _put(self, resource: R) -> R:
        path = self._path_of(resource.name)
        normal = self._normal(resource)
        try:
            write_atomically(path, dump_yaml(normal.to_dict()) + _END)
        except OSError as error:
            raise StoreUnavailable(f"{path} could not be written: {error.strerror}") from error
        self._objects[resource.name] = normal
        return normal

    def _normal(self, resource: R) -> R:
        """As it comes back from its file: in memory and on the disk there is one truth."""
        return parse_resource(self._kind, resource.to_dict())


def path_in(folder: Path) -> Callable[[str], Path]:
    """Where the objects of a folder lie, by name."""
    return lambda name: folder / file_name(name)


def read_file(kind: type[R], path: Path) -> R:
    """Read an object that this store wrote earlier.

    Raises:
        StateFolderError: The file is torn, not a manifest of the kind, or was put there by somebody else.
    """
    text = _text_of(path)
    raw = _mapping(text, path)
    if raw.get("kind") != kind.__name__:
        raise _foreign(path, f"its kind is {raw.get('kind')!r}, not {kind.__name__}")
    try:
        resource = parse_resource(kind, raw)
    except InvalidManifest as error:
        raise _foreign(path, str(error)) from error
    if not _was_written_here(resource.metadata):
        raise _foreign(path, "it has no uid and resource version, so it was not written by this program")
    if not text.endswith(_END):
        raise _foreign(path, f"its end is missing (the line {_END.strip()!r})")
    return resource


def read_mapping(path: Path) -> Mapping[str, Any]:
    """The YAML mapping in a file of the state folder.

    Raises:
        StateFolderError: It is not readable, not YAML or not a mapping.
    """
    return _mapping(_text_of(path), path)


def _text_of(path: Path) -> str:
    try:
        return read_plain_file(path).decode("utf-8")
    except OSError as error:
        raise _foreign(path, f"it cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise _foreign(path, "it is not YAML") from error


def _mapping(text: str, path: Path) -> Mapping[str, Any]:
    try:
        raw = load_yaml(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise _foreign(path, "it is not YAML") from error
    if not isinstance(raw, dict):
        raise _foreign(path, "it is not a YAML mapping")
    return raw


def _was_written_here(metadata: ObjectMeta) -> bool:
    version = metadata.resource_version or ""
    is_number = version.isascii() and version.isdecimal()
    return bool(metadata.uid) and is_number and metadata.generation is not None


def _foreign(path: Path, why: str) -> StateFolderError:
    return StateFolderError(
        f"{path} cannot be used: {why}. Nothing was changed. Bring the file back from a copy, or move it "
        "away if it does not belong here; a trial whose file is missing may be bought again"
    )
