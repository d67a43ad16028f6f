"""An account at Vertex AI: who we are there, and where its services lie.

Nothing here knows of trials or jobs. All of it blocks: what is made here is used in threads.
"""

from __future__ import annotations

import functools
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import quote

import google.auth
import requests
from google.api_core.exceptions import from_http_response
from google.auth.credentials import TokenState
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud import storage
from google.oauth2 import service_account
from google.protobuf import json_format

from finetune_providers.base import ProviderConfig
from finetune_providers.calls import READ_TIMEOUT_S, keep_identity
from finetune_providers.errors import PermanentProviderError, TransientProviderError, UnexpectedResponse
from finetune_providers.vertex_ai.errors import CREDENTIALS, SECRET_KEYS
from finetune_providers.vertex_ai.transport import BoundedAdapter, LoginAdapter

SCOPE = "https://www.googleapis.com/auth/cloud-platform"

_MULTI_REGIONS = ("us", "eu")
_SECRET_FIELDS = ("private_key", "private_key_id")
_REGION = r"[a-z][a-z0-9-]*"


class Ask(Protocol):
    """Makes a blocking call that may be repeated: in a thread, paced, with its failures explained."""

    async def __call__(self, call: Callable[[], Any], *, timeout_s: float = READ_TIMEOUT_S) -> Any: ...


class _LocalCredentials(service_account.Credentials):  # type: ignore[misc]  # the package is untyped for us
    """A service account behind `spec.endpoint`: Google's own services are not asked about it.

    Otherwise the library looks up, in the background and at Google itself, in which regions it may be used.
    """

    def _is_regional_access_boundary_lookup_required(self) -> bool:
        return False


class Account:
    """Connections of one project, made when they are first needed."""

    def __init__(self, config: ProviderConfig, *, credentials: Any = None) -> None:
        """Read where and as whom to work; no I/O.

        Raises:
            PermanentProviderError: Something is missing or malformed, with `field`.
        """
        key = _service_account_key(config)
        self.project: str = config.project or str(key.get("project_id", ""))
        self.region = config.region or ""
        self.secrets = tuple(str(key[name]) for name in _SECRET_FIELDS if key.get(name))
        if not self.project:
            raise PermanentProviderError(
                "the project is missing; set it to the id of the Google Cloud project", field="spec.project"
            )
        if not re.fullmatch(_REGION, self.region):
            raise PermanentProviderError(
                f"region {self.region!r} is none; name where models are tuned, such as us-central1",
                field="spec.region",
            )
        self._endpoint = config.endpoint
        self._endpoints = config.endpoints
        self._given = credentials or _credentials(config, key)
        self._lock = threading.Lock()
        self._closed = False
        self._clients: dict[str, Any] = {}

    @property
    def parent(self) -> str:
        """Where jobs are made."""
        return f"projects/{self.project}/locations/{self.region}"

    def log_in(self) -> None:
        """Have a new token: one in use may have been taken back before its time. Blocking."""
        with self._lock:
            credentials = self._credentials()
        # Credentials that were given as a token alone have nothing to get another one with.
        renewable = getattr(credentials, "refresh_token", "") is not None
        if renewable or credentials.token_state != TokenState.FRESH:
            with _prepared(requests.Session(), LoginAdapter) as session:
                credentials.refresh(functools.partial(Request(session), timeout=READ_TIMEOUT_S))

    def ask(
        self,
        verb: str,
        path: str,
        answer: Any = None,
        *,
        query: Sequence[tuple[str, object]] = (),
        body: Any = None,
        timeout_s: float = READ_TIMEOUT_S,
    ) -> Any:
        """Make a request that may be repeated. Blocking.

        The packages' own clients write enums as numbers, with a parameter ($alt) for it, and look for operations at a
        path (/ui/): Google's REST reference has none of that.

        Args:
            verb: HTTP method.
            path: Name of a resource or collection, with the method's own word where it has one.
            answer: Class of the answer; None for parsed JSON as it is.
            query: Parameters, without those that are "".
            body: A message, or None.
            timeout_s: For each silence of the other side.

        Raises:
            GoogleAPICallError, GoogleAuthError, ParseError, requests.RequestException: As `explain` knows them.
        """
        session = self._once("plain", self._session)
        return self._request(session, verb, path, answer, query=query, body=body, timeout_s=timeout_s)

    def buy(self, path: str, answer: Any, *, body: Any, timeout_s: float) -> Any:
        """Make exactly one POST request, even where the answer is 401. Blocking.

        It has a connection of its own: one that lay idle since the last purchase may be dead and leave this in doubt.
        """
        with self._lock:
            credentials = self._credentials()
        with _authorized(credentials, refresh_status_codes=()) as session:
            return self._request(session, "POST", path, answer, body=body, timeout_s=timeout_s)

    def storage(self) -> Any:
        """Where datasets are put."""
        return self._once("storage", self._make_storage)

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            self._closed = True
            clients, self._clients = self._clients, {}
        for client in clients.values():
            client.close()

    def _request(
        self,
        session: Any,
        verb: str,
        path: str,
        answer: Any,
        *,
        query: Sequence[tuple[str, object]] = (),
        body: Any = None,
        timeout_s: float,
    ) -> Any:
        response = session.request(
            verb,
            f"{self.host(path)}/v1/{quote(path, safe='/:@')}",
            params=[(name, value) for name, value in query if value != ""],
            json=None if body is None else json_format.MessageToDict(type(body).pb(body)),
            timeout=timeout_s,
        )
        if response.status_code >= 400:
            raise from_http_response(response)
        if answer is not None:
            return json_format.Parse(response.content, answer.pb(answer()), ignore_unknown_fields=True)
        parsed = response.json()
        return parsed if isinstance(parsed, dict) else {}

    def host(self, path: str) -> str:
        """Where the service of a resource lies."""
        override = self._endpoints.get("inference") if path.endswith(":generateContent") else None
        if override or self._endpoint:
            return override or self._endpoint or ""
        location = location_of(path)
        # Multi-regions have names of another form than regions.
        if location in _MULTI_REGIONS:
            return f"https://aiplatform.{location}.rep.googleapis.com"
        if location == "global":
            return "https://aiplatform.googleapis.com"
        return f"https://{location}-aiplatform.googleapis.com"

    def _session(self) -> Any:
        return _authorized(self._credentials())

    def _make_storage(self) -> Any:
        host = self._endpoints.get("storage") or self._endpoint
        client = storage.Client(
            project=self.project,
            credentials=self._credentials(),
            client_options={"api_endpoint": host} if host else None,
            _http=self._session(),
        )
        # Otherwise it asks for the bucket's description in a thread of its own, for traces that nobody collects.
        client._bucket_metadata_cache = None
        return client

    def _credentials(self) -> Any:
        if self._given is None:
            self._given, _ = google.auth.default(scopes=[SCOPE])
        return self._given

    def _once(self, service: str, make: Callable[[], Any]) -> Any:
        with self._lock:
            if self._closed:
                raise TransientProviderError("the provider was closed")
            if service not in self._clients:
                self._clients[service] = make()
            return self._clients[service]


def _authorized(credentials: Any, **options: Any) -> Any:
    session = _prepared(AuthorizedSession(credentials, **options))
    _prepared(session._auth_request_session, LoginAdapter)
    return session


def _prepared(session: Any, adapter: type[BoundedAdapter] = BoundedAdapter) -> Any:
    session.max_redirects = 0  # a token is for its own address alone, and a create call is made once
    for scheme in ("https://", "http://"):
        session.mount(scheme, adapter(pool_maxsize=16))
    return session


def location_of(name: str) -> str:
    """The location in a resource's name.

    Raises:
        UnexpectedResponse: There is none.
    """
    found = re.match(rf"projects/[^/]+/locations/({_REGION})/", name)
    if found is None:
        raise UnexpectedResponse(f"{name!r} is no resource of a project and location")
    return found[1]


def _service_account_key(config: ProviderConfig) -> Mapping[str, Any]:
    if not config.credentials:
        return {}
    written = next((config.credentials[key] for key in SECRET_KEYS if config.credentials.get(key)), None)
    if written is None:
        raise PermanentProviderError(
            f"the Secret has no key {' or '.join(SECRET_KEYS)}; put the service account's key file (JSON) there",
            field=CREDENTIALS,
        )
    try:
        key = json.loads(written)
    except ValueError:
        key = None
    if not isinstance(key, dict) or key.get("type") != "service_account":
        raise PermanentProviderError(
            'the Secret holds no service account key; it is JSON with "type": "service_account", as Google Cloud '
            "hands it out; without a key leave credentialsSecretRef out and use Workload Identity",
            field=CREDENTIALS,
        ) from None
    return key


def _credentials(config: ProviderConfig, key: Mapping[str, Any]) -> Any:
    if not key:
        keep_identity(config, config.endpoint, *config.endpoints.values())
        return None
    login = config.endpoints.get("login")
    kind = service_account.Credentials if config.endpoint is None else _LocalCredentials
    info = {**key, "token_uri": login} if login else dict(key)
    try:
        return kind.from_service_account_info(info, scopes=[SCOPE])
    except (ValueError, GoogleAuthError):
        pass  # raised out here, the error does not hold the exception, which may hold a part of the key
    raise PermanentProviderError(
        "the service account key in the Secret is not whole; it needs client_email, token_uri and private_key, as "
        "Google Cloud hands it out",
        field=CREDENTIALS,
    )
