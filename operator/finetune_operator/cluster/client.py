"""The few calls that the operator makes to the API server, as plain objects, with errors that say what to do.

The Kubernetes client is known to this module alone (and its configuration to `access`). A call is made once:
whether it is made again is for the caller to decide, who reads the object anew first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from kubernetes.aio.client import ApiClient

from finetune_operator.cluster.access import ClusterAccess
from finetune_operator.cluster.answers import Expired, refusal, translated
from finetune_operator.errors import SweepError
from finetune_operator.lifecycle.store import NotFound, StoreUnavailable
from finetune_operator.resources import GROUP, VERSION

Raw = dict[str, Any]
"""An object as the API server has it."""

FIELD_MANAGER = "finetune-operator"
_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=10)
# A trial with its metrics takes 50 kB as Python's objects.
_CHUNK = 200
_METADATA_CHUNK = 1000
_JSON = "application/json"
_METADATA_ALONE = f"{_JSON};as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,{_JSON}"
_MERGE_PATCH = "application/merge-patch+json"
_EXPIRED_LISTS = 3


@dataclass(frozen=True, slots=True)
class ApiResource:
    """A kind as the API server's paths name it; the empty group is the core one."""

    group: str
    version: str
    plural: str

    def path(self, namespace: str | None, name: str | None = None, *, subresource: str | None = None) -> str:
        """The path of all objects, of a namespace's objects, of one object, or of a part of it."""
        root = f"/apis/{self.group}" if self.group else "/api"
        parts = [root, self.version]
        if namespace is not None:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        parts += [quote(part, safe="") for part in (name, subresource) if part is not None]
        return "/".join(parts)


SWEEPS = ApiResource(GROUP, VERSION, "finetunesweeps")
TRIALS = ApiResource(GROUP, VERSION, "finetunetrials")
PROVIDERS = ApiResource(GROUP, VERSION, "finetuneproviders")
SECRETS = ApiResource("", "v1", "secrets")
CONFIG_MAPS = ApiResource("", "v1", "configmaps")
EVENTS = ApiResource("", "v1", "events")


TakePage = Callable[[Sequence[Raw], bool], None]
"""Takes a chunk of a list, and whether it is the first."""


@dataclass(frozen=True, slots=True)
class Listing:
    """All objects of a kind at one moment.

    Attributes:
        items: The objects.
        version: The resource version of the moment.
    """

    items: tuple[Raw, ...]
    version: int


class KubeClient:
    """Calls to the API server.

    Any method may raise StoreUnavailable, Refused (with what the server says) or NotFound.

    Attributes:
        answered: Told of each call: its HTTP method, what it was about, and `ok` or the error's name.
    """

    def __init__(self, api: ApiClient) -> None:
        """Take over a client, which `close` closes."""
        self._api = api
        self.answered: Callable[[str, ApiResource, str], None] = lambda method, resource, outcome: None

    @classmethod
    async def connect(cls, access: ClusterAccess) -> Self:
        """A client with the credentials of a kubeconfig or a service account; nothing is sent yet.

        Raises:
            NoCluster: There are no credentials.
        """
        return cls(ApiClient(await access.configuration()))

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def get(self, resource: ApiResource, namespace: str, name: str) -> Raw:
        """One object."""
        return await self._send("GET", resource, resource.path(namespace, name))

    async def list(self, resource: ApiResource, namespace: str | None, *, labels: str = "") -> Listing:
        """All objects of a namespace, or of all namespaces, read in chunks of one moment.

        Args:
            resource: Their kind.
            namespace: Where; None for all namespaces.
            labels: A label selector; only what it selects is listed.
        """
        items: list[Raw] = []

        def take_in(page: Sequence[Raw], first: bool) -> None:
            if first:
                items.clear()
            items.extend(page)

        version = await self.read_pages(resource, namespace, take_in, labels=labels)
        return Listing(tuple(items), version)

    async def read_pages(
        self,
        resource: ApiResource,
        namespace: str | None,
        take_in: TakePage,
        *,
        labels: str = "",
        metadata_alone: bool = False,
    ) -> int:
        """As `list`, with each chunk handed over as it comes, so that they are never all in memory.

        A list that expires while it is read is read anew: then another first chunk comes. With `metadata_alone` the
        objects have nothing else, from a server that knows how to leave the rest out.

        Returns:
            The resource version of the moment.
        """
        for _ in range(_EXPIRED_LISTS):
            version = await self._pages_once(resource, namespace, take_in, labels, metadata_alone)
            if version is not None:
                return version
        raise StoreUnavailable(
            f"the list of {resource.plural} expired {_EXPIRED_LISTS} times while being read"
        )

    async def _pages_once(
        self,
        resource: ApiResource,
        namespace: str | None,
        take_in: TakePage,
        labels: str,
        metadata_alone: bool,
    ) -> int | None:
        token = ""
        chunk, accept = (_METADATA_CHUNK, _METADATA_ALONE) if metadata_alone else (_CHUNK, _JSON)
        while True:
            query = {"limit": str(chunk)} | ({"continue": token} if token else {})
            query |= {"labelSelector": labels} if labels else {}
            try:
                page = await self._send("GET", resource, resource.path(namespace), query=query, accept=accept)
            except Expired:
                return None
            except NotFound as error:
                raise StoreUnavailable(
                    f"the API server does not know {resource.plural}.{resource.group}: apply the CRDs"
                ) from error
            items = page["items"] or []  # null where only metadata is asked for, and there are none
            for item in items:
                # A list's items may come without the kind that they all share.
                item.setdefault("apiVersion", page["apiVersion"])
                item.setdefault("kind", page["kind"].removesuffix("List"))
            take_in(items, not token)
            token = page["metadata"].get("continue", "")
            if not token:
                return int(page["metadata"]["resourceVersion"])

    async def create(self, resource: ApiResource, namespace: str, body: Mapping[str, Any]) -> Raw:
        """Create an object.

        Raises:
            AlreadyExists: There is one of that name.
        """
        path = resource.path(namespace)
        return await self._send("POST", resource, path, body=body, content_type=_JSON)

    async def patch(
        self,
        resource: ApiResource,
        namespace: str,
        name: str,
        *,
        body: Mapping[str, Any],
        subresource: str | None = None,
    ) -> Raw:
        """Change an object by a JSON merge patch; its `metadata.resourceVersion` is the guard.

        Raises:
            Conflict: The object has another resource version.
        """
        path = resource.path(namespace, name, subresource=subresource)
        return await self._send("PATCH", resource, path, body=body, content_type=_MERGE_PATCH)

    async def delete(self, resource: ApiResource, namespace: str, name: str, *, uid: str | None) -> Raw:
        """Ask for the deletion of this object, and of no other one that took its name.

        Returns:
            The object where finalizers hold it, else the server's Status.

        Raises:
            Conflict: The object of that name is another one.
        """
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid is not None:
            body["preconditions"] = {"uid": uid}
        path = resource.path(namespace, name)
        return await self._send("DELETE", resource, path, body=body, content_type=_JSON)

    async def _send(
        self,
        method: str,
        resource: ApiResource,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str | None = None,
        accept: str = _JSON,
    ) -> Raw:
        headers = {"Accept": accept} | ({"Content-Type": content_type} if content_type else {})
        parameters = dict(query or {})
        if method in {"POST", "PATCH"}:
            # Strict: a field that the CRD does not have is an error. Dropped in silence it could be the journal.
            parameters |= {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        with self._told(method, resource), translated(f"{method} {path}"):
            serialized = await self._api.param_serialize(
                method=method,
                resource_path=path,
                query_params=list(parameters.items()),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            response = await self._api.call_api(*serialized, _request_timeout=_TIMEOUT)
            data: bytes = await response.read()  # type: ignore[no-untyped-call]
            if not 200 <= response.status < 300:
                raise refusal(response.status, data)
            answer: Raw = json.loads(data)
            return answer

    @contextmanager
    def _told(self, method: str, resource: ApiResource) -> Iterator[None]:
        outcome = "cut_off"
        try:
            yield
            outcome = "ok"
        except SweepError as error:
            outcome = type(error).__name__.lstrip("_")
            raise
        finally:
            self.answered(method, resource, outcome)
