"""Writes kubeconfig files that hold their credentials, so that one file is all a client needs."""

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path

from controlplane.certificates import KeyPair


def write_certificate_kubeconfig(path: Path, server: str, *, authority: Path, client: KeyPair) -> Path:
    """Writes a kubeconfig whose user is a client certificate."""
    user = {
        "client-certificate-data": _base64(client.public),
        "client-key-data": _base64(client.private),
    }
    return _write(path, server, authority=authority, user=user, namespace="default")


def write_token_kubeconfig(path: Path, server: str, *, authority: Path, token: str, namespace: str) -> Path:
    """Writes a kubeconfig whose user is a bearer token."""
    return _write(path, server, authority=authority, user={"token": token}, namespace=namespace)


def _write(path: Path, server: str, *, authority: Path, user: Mapping[str, str], namespace: str) -> Path:
    cluster = {"server": server, "certificate-authority-data": _base64(authority)}
    context = {"cluster": "control-plane", "user": "user", "namespace": namespace}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "control-plane", "cluster": cluster}],
        "users": [{"name": "user", "user": dict(user)}],
        "contexts": [{"name": "control-plane", "context": context}],
        "current-context": "control-plane",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    # Renamed into place, so that nobody reads half a file; JSON is YAML.
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(content, indent=2), encoding="utf-8")
    return partial.replace(path)


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode("ascii")
