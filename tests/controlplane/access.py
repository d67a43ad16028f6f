"""Gives tests a fresh namespace and service accounts that may do exactly what a test grants them."""

import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from controlplane.kubeconfig import write_token_kubeconfig
from controlplane.plane import ControlPlane

# A rule as RBAC writes it: {"apiGroups": [...], "resources": [...], "verbs": [...]}, perhaps "resourceNames".
Rule = Mapping[str, Sequence[str]]
_RBAC = "rbac.authorization.k8s.io"


def create_namespace(plane: ControlPlane, prefix: str = "test") -> str:
    """Creates a namespace of its own for a test and returns its name."""
    name = f"{prefix}-{uuid.uuid4().hex[:10]}"
    plane.kubectl("create", "namespace", name)
    return name


def delete_namespace(plane: ControlPlane, name: str) -> None:
    """Marks a namespace for deletion and does not wait until it is empty."""
    plane.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def create_service_account(
    plane: ControlPlane, namespace: str, rules: Sequence[Rule], *, name: str, cluster_wide: bool = False
) -> None:
    """Creates a service account with a role of the same name, and binds the two.

    Args:
        plane: Where.
        namespace: Namespace of the account, and what it may act in unless it is cluster wide.
        rules: What it may do, in the words of RBAC.
        name: Name of the account; a cluster-wide role's name also gets the namespace, which keeps it unique.
        cluster_wide: Grant the rules in all namespaces, by a ClusterRole.
    """
    kind = "ClusterRole" if cluster_wide else "Role"
    metadata = {"name": f"{namespace}-{name}"} if cluster_wide else {"name": name, "namespace": namespace}
    items: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}},
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": kind,
            "metadata": metadata,
            "rules": [dict(rule) for rule in rules],
        },
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
            "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": metadata["name"]},
        },
    ]
    manifest = {"apiVersion": "v1", "kind": "List", "items": items}
    plane.kubectl("create", "--filename=-", stdin=json.dumps(manifest))


def write_service_account_kubeconfig(
    plane: ControlPlane, namespace: str, name: str, *, valid_for: str = "1h"
) -> Path:
    """Asks the API server for a token of a service account and writes a kubeconfig with it.

    Args:
        plane: Where.
        namespace: Namespace of the account.
        name: An account that exists, made by `create_service_account` or by a chart.
        valid_for: How long the token is good for; the server allows no less than 10 minutes.
    """
    token = plane.kubectl("create", "token", name, f"--namespace={namespace}", f"--duration={valid_for}")
    return write_token_kubeconfig(
        plane.folder / "service-accounts" / f"{namespace}-{name}.kubeconfig",
        plane.server,
        authority=plane.layout.certificates.authority.public,
        token=token.stdout.strip(),
        namespace=namespace,
    )
