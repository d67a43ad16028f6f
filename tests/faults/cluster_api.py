"""People's way to the API server, past the proxy: few calls over one connection, with the administrator's rights."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections.abc import Callable
from typing import Any

from tests.contract.patience import PATIENCE_S

from controlplane.plane import ControlPlane
from finetune_operator.cluster.client import PROVIDERS, SWEEPS, TRIALS, ApiResource

Raw = dict[str, Any]
_PAST = {"FinetuneSweep": SWEEPS, "FinetuneTrial": TRIALS, "FinetuneProvider": PROVIDERS}


class ApiError(Exception):
    """The API server says no."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:500]}")
        self.status = status


class ClusterApi:
    """Reads and writes objects of a namespace as a person with kubectl does."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        certificates = plane.layout.certificates
        self._context = ssl.create_default_context(cafile=str(certificates.authority.public))
        self._context.load_cert_chain(str(certificates.admin.public), str(certificates.admin.private))
        self._port = plane.layout.ports.api_server
        self._connection: http.client.HTTPSConnection | None = None
        self._lock = threading.Lock()
        self.namespace = namespace

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def call(self, method: str, path: str, body: Any = None, *, kind: str = "application/json") -> Any:
        """One call; a connection that was closed meanwhile is opened anew."""
        data = None if body is None else json.dumps(body).encode()
        with self._lock:
            for last in (False, True):
                try:
                    return self._call(method, path, data, kind)
                except (http.client.HTTPException, ConnectionError, ssl.SSLError, TimeoutError):
                    self.close()
                    if last:
                        raise
        return None

    def _call(self, method: str, path: str, data: bytes | None, kind: str) -> Any:
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(
                "127.0.0.1", self._port, context=self._context, timeout=PATIENCE_S
            )
        self._connection.request(method, path, body=data, headers={"Content-Type": kind})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise ApiError(answer.status, text.decode(errors="replace"))
        return json.loads(text)

    def list(self, kind: str) -> list[Raw]:
        """All objects of a kind."""
        items: list[Raw] = self.call("GET", self._path(kind))["items"]
        return items

    def find(self, kind: str, name: str) -> Raw | None:
        """One object, or None."""
        try:
            found: Raw = self.call("GET", self._path(kind, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return found

    def create(self, manifest: Raw) -> Raw:
        """Create an object."""
        created: Raw = self.call("POST", self._path(manifest["kind"]), manifest)
        return created

    def patch(self, kind: str, name: str, change: Raw, *, part: str | None = None) -> Raw:
        """Change an object by a merge patch."""
        path = self._path(kind, name, part)
        changed: Raw = self.call("PATCH", path, change, kind="application/merge-patch+json")
        return changed

    def delete(self, kind: str, name: str, **options: Any) -> None:
        """Ask for an object's deletion; nothing to do where it is gone."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", **options}
        try:
            self.call("DELETE", self._path(kind, name), body)
        except ApiError as error:
            if error.status != 404:
                raise

    def change_until_taken(
        self, kind: str, name: str, change: Callable[[Raw], Raw | None], *, part: str | None = None
    ) -> bool:
        """Change an object as it was read; where somebody was faster, read again. False where nothing is to change."""
        while True:
            found = self.find(kind, name)
            patch = None if found is None else change(found)
            if found is None or patch is None:
                return False
            guard = {"resourceVersion": found["metadata"]["resourceVersion"]}
            patch = {**patch, "metadata": {**patch.get("metadata", {}), **guard}}
            try:
                self.patch(kind, name, patch, part=part)
            except ApiError as error:
                if error.status == 404:
                    return False
                if error.status != 409:
                    raise
            else:
                return True

    def _path(self, kind: str, name: str | None = None, part: str | None = None) -> str:
        resource = _PAST.get(kind) or ApiResource("", "v1", f"{kind.lower()}s")
        return resource.path(self.namespace, name, subresource=part)
