"""The documents of a person's files: one sweep with everything it refers to."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from finetune_operator.errors import InvalidManifest, Problem
from finetune_operator.folder.errors import StateFolderError
from finetune_operator.folder.files import file_name
from finetune_operator.resources import FinetuneProvider, FinetuneSweep, Resource, parse_resource

DEFAULT_NAMESPACE = "default"
ALLOWED_KINDS = ("FinetuneSweep", "FinetuneProvider", "ConfigMap", "Secret")

Manifest = Mapping[str, Any]
R = TypeVar("R", bound=Resource)


@dataclass(frozen=True, slots=True)
class Documents:
    """What a person gave.

    Attributes:
        sweep: The one sweep, in a namespace.
        providers: By name.
        config_maps: Text values by name.
        secrets: Values by name; kept in memory only.
    """

    sweep: FinetuneSweep
    providers: Mapping[str, FinetuneProvider] = field(default_factory=dict)
    config_maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)

    @property
    def namespace(self) -> str:
        """The namespace of all of it."""
        return self.sweep.metadata.namespace or DEFAULT_NAMESPACE


def read_documents(manifests: Sequence[Manifest]) -> Documents:
    """Sort the documents of one or more files by kind.

    Raises:
        InvalidManifest: With everything that is wrong in any of them.
    """
    return _Reader(manifests).read()


class _Reader:
    """Collects the problems of all documents, so that a person sees them at once."""

    def __init__(self, manifests: Sequence[Manifest]) -> None:
        self._problems: list[Problem] = []
        self._documents = [document for manifest in manifests for document in _items_of(manifest)]

    def read(self) -> Documents:
        raw_sweeps = self._of_kind("FinetuneSweep")
        self._check_kinds()
        self._check_names()
        if len(raw_sweeps) != 1:
            message = f"exactly one FinetuneSweep is needed, {len(raw_sweeps)} were given"
            self._problems.append(Problem("", message))
        namespace = _namespace_of(raw_sweeps[0]) if raw_sweeps else None
        self._check_namespaces(namespace or DEFAULT_NAMESPACE)
        sweeps = [self._parse(FinetuneSweep, raw) for raw in raw_sweeps]
        providers = [self._parse(FinetuneProvider, raw) for raw in self._of_kind("FinetuneProvider")]
        config_maps = self._values("ConfigMap", _config_map_values)
        secrets = self._values("Secret", _secret_values)
        sweep = sweeps[0] if len(sweeps) == 1 else None
        if sweep is None or self._problems:
            raise InvalidManifest(tuple(self._problems))
        return Documents(
            sweep=_in_namespace(sweep, namespace or DEFAULT_NAMESPACE),
            providers={
                provider.name: _in_namespace(provider, namespace or DEFAULT_NAMESPACE)
                for provider in providers
                if provider is not None
            },
            config_maps=config_maps,
            secrets=secrets,
        )

    def _of_kind(self, kind: str) -> list[Manifest]:
        return [document for document in self._documents if document.get("kind") == kind]

    def _check_kinds(self) -> None:
        for document in self._documents:
            kind = document.get("kind")
            if kind not in ALLOWED_KINDS:
                message = f"{kind!r} has no place here; allowed are {', '.join(ALLOWED_KINDS)}"
                self._problems.append(Problem("kind", message))
            elif kind in {"ConfigMap", "Secret"} and document.get("apiVersion") != "v1":
                self._problems.append(Problem(f"{_label(document)} apiVersion", "must be v1"))

    def _check_names(self) -> None:
        seen: set[tuple[object, str]] = set()
        for document in self._documents:
            name = _name_of(document)
            if name is None:
                self._problems.append(Problem(f"{_label(document)} metadata.name", "is required"))
                continue
            if document.get("kind") in {"ConfigMap", "Secret"}:
                self._check_name(f"{_label(document)} metadata.name", name)
            identity = (document.get("kind"), name)
            if identity in seen:
                self._problems.append(Problem(f"{_label(document)} metadata.name", "is given twice"))
            seen.add(identity)

    def _check_name(self, field: str, name: str) -> None:
        try:
            file_name(name)
        except StateFolderError as error:
            self._problems.append(Problem(field, str(error)))

    def _check_namespaces(self, namespace: str) -> None:
        for document in self._documents:
            own = _namespace_of(document)
            if own is not None:
                self._check_name(f"{_label(document)} metadata.namespace", own)
            if own is not None and own != namespace:
                message = f"is {own}, but the sweep's is {namespace}: all documents share one namespace"
                self._problems.append(Problem(f"{_label(document)} metadata.namespace", message))

    def _parse(self, kind: type[R], raw: Manifest) -> R | None:
        # Only a store writes a status; one that stands in a manifest was copied along and is dropped.
        wanted = {name: value for name, value in raw.items() if name != "status"}
        try:
            return parse_resource(kind, wanted)
        except InvalidManifest as error:
            prefix = "" if kind is FinetuneSweep else f"{_label(raw)} "
            self._problems += [Problem(prefix + each.field, each.message) for each in error.problems]
            return None

    def _values(
        self, kind: str, read: Callable[[Manifest], Mapping[str, str]]
    ) -> dict[str, Mapping[str, str]]:
        found: dict[str, Mapping[str, str]] = {}
        for document in self._of_kind(kind):
            try:
                found[_name_of(document) or ""] = read(document)
            except InvalidManifest as error:
                self._problems += error.problems
        return found


def _items_of(manifest: Manifest) -> list[Manifest]:
    """The documents of one that may be a list, as `kubectl get -o yaml` writes it."""
    if not isinstance(manifest, Mapping):
        message = "each document must be a mapping with apiVersion, kind and metadata"
        raise InvalidManifest((Problem("", message),))
    items = manifest.get("items")
    if manifest.get("kind") != "List" or not isinstance(items, Sequence):
        return [manifest]
    return [document for item in items for document in _items_of(item)]


def _metadata_of(document: Manifest) -> Manifest:
    metadata = document.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}


def _name_of(document: Manifest) -> str | None:
    name = _metadata_of(document).get("name")
    return name if isinstance(name, str) and name else None


def _namespace_of(document: Manifest) -> str | None:
    namespace = _metadata_of(document).get("namespace")
    return namespace if isinstance(namespace, str) and namespace else None


def _label(document: Manifest) -> str:
    return f"{document.get('kind')}/{_name_of(document) or '?'}"


def _in_namespace(resource: R, namespace: str) -> R:
    metadata = resource.metadata.model_copy(update={"namespace": namespace})
    return resource.model_copy(update={"metadata": metadata})


def _text_values(document: Manifest, block: str) -> dict[str, str]:
    values = document.get(block) or {}
    field_name = f"{_label(document)} {block}"
    if not isinstance(values, Mapping):
        raise InvalidManifest((Problem(field_name, "must be a mapping of names to texts"),))
    # The value itself is never shown: it may be a secret.
    wrong = [
        Problem(f"{field_name}.{key}", "must be a text; write it in quotes")
        for key, value in values.items()
        if not isinstance(key, str) or not isinstance(value, str)
    ]
    if wrong:
        raise InvalidManifest(tuple(wrong))
    return dict(values)


def _config_map_values(document: Manifest) -> Mapping[str, str]:
    return _text_values(document, "data")


def _secret_values(document: Manifest) -> Mapping[str, str]:
    decoded = {
        key: _decoded(value, field_name=f"{_label(document)} data.{key}")
        for key, value in _text_values(document, "data").items()
    }
    return decoded | _text_values(document, "stringData")


def _decoded(value: str, *, field_name: str) -> str:
    try:
        return base64.b64decode("".join(value.split()), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        pass
    # Raised outside the handler: the error above holds a part of the value.
    message = "must be text in base64; give plain text in stringData"
    raise InvalidManifest((Problem(field_name, message),))
