"""The manifest that makes the same sweep again."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from finetune_operator.resources import API_VERSION, FinetuneSweep, dump_yaml

LEFT_OUT = "LEFT-OUT"


def manifest_text(sweep: FinetuneSweep) -> str:
    """The sweep's spec as YAML, with the content hashes of its datasets as comments.

    Nothing else of the resource is in it: annotations may hold anything. Of a dataset's address the user, the
    password and the query are left out, since a signed address is a secret.
    """
    spec = sweep.spec.to_dict()
    spec.pop("suspend", None)
    for source in spec["dataset"].values():
        if "uri" in source:
            source["uri"] = _without_secrets(source["uri"])
    document: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": "FinetuneSweep",
        "metadata": {"name": sweep.name},
        "spec": spec,
    }
    return "".join([*_notes(sweep, spec), dump_yaml(document)])


def _notes(sweep: FinetuneSweep, spec: dict[str, Any]) -> list[str]:
    names = sorted({candidate.provider_ref.name for candidate in sweep.spec.candidates})
    notes = [f"# Needs the FinetuneProvider{'s' if len(names) > 1 else ''} {', '.join(names)}.\n"]
    hashes = {} if sweep.status.datasets is None else sweep.status.datasets.to_dict()
    notes += [f"# SHA-256 of the {name} dataset: {value}\n" for name, value in hashes.items()]
    if any(LEFT_OUT in source.get("uri", "") for source in spec["dataset"].values()):
        notes.append(f"# {LEFT_OUT} stands for what may be secret in an address: put it back before use.\n")
    return notes


def _without_secrets(uri: str) -> str:
    if uri.startswith("file://"):
        return uri
    try:
        parts = urlsplit(uri)
    except ValueError:
        return f"{uri.partition(':')[0]}://{LEFT_OUT}"
    user, _, host = parts.netloc.rpartition("@")
    kept = f"{LEFT_OUT}@{host}" if user else host
    query = f"?{LEFT_OUT}" if parts.query else ""
    return f"{parts.scheme}://{kept}{parts.path}{query}"
