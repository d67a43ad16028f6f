"""An account at Vertex AI: who we are there, and where its services lie.

Nothing here knows of trials or jobs. All of it blocks: what is made here is used in threads.
"""

from __future__ import annotations

import functools
import json
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import quote

import google.auth
import requests
from google.api_core.exceptions import from_http_response
from google.auth.credentials import TokenState
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud import storage
from google.cloud.aiplatform_v1.services.endpoint_service import EndpointServiceClient
from google.cloud.aiplatform_v1.services.gen_ai_tuning_service import GenAiTuningServiceClient
from google.cloud.aiplatform_v1.services.metadata_service import MetadataServiceClient
from google.cloud.aiplatform_v1.services.model_service import ModelServiceClient
from google.cloud.aiplatform_v1.services.prediction_service import PredictionServiceClient
from google.cloud.aiplatform_v1.services.tensorboard_service import TensorboardServiceClient
from google.oauth2 import service_account
from requests.adapters import HTTPAdapter

from finetune_providers.base import ProviderConfig
from finetune_providers.calls import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, keep_identity
from finetune_providers.errors import PermanentProviderError, TransientProviderError, UnexpectedResponse
from finetune_providers.vertex_ai_errors import CREDENTIALS, SECRET_KEYS

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


class _Adapter(HTTPAdapter):
    """Gives a connection less time to be made than its answer: what was never connected had no effect."""

    def send(self, request: Any, *args: Any, **options: Any) -> Any:
        timeout = options.get("timeout")
        if isinstance(timeout, int | float):
            options["timeout"] = (min(CONNECT_TIMEOUT_S, timeout), timeout)
        return super().send(request, *args, **options)


class Account:
    """Clients of one project, made when they are first needed, one a service and location."""

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
        self._clients: dict[tuple[object, str], Any] = {}

    @property
    def parent(self) -> str:
        """Where jobs are made."""
        return f"projects/{self.project}/locations/{self.region}"

    def log_in(self) -> None:
        """Have a token that lasts for the next call. Blocking."""
        with self._lock:
            credentials = self._credentials()
        if credentials.token_state != TokenState.FRESH:
            with requests.Session() as session:
                _prepare(session)
                credentials.refresh(functools.partial(Request(session), timeout=READ_TIMEOUT_S))

    def tuning(self) -> Any:
        """What lists, gets and cancels jobs."""
        return self._service(GenAiTuningServiceClient, self.region)

    def buying(self) -> Any:
        """What creates jobs: one HTTP request a call, even where the answer is 401."""
        return self._service(GenAiTuningServiceClient, self.region, sends_again=False)

    def prediction(self, location: str) -> Any:
        """What has models answer."""
        return self._service(PredictionServiceClient, location, self._endpoints.get("inference"))

    def models(self, location: str) -> Any:
        """What holds fine-tuned models."""
        return self._service(ModelServiceClient, location)

    def model_endpoints(self, location: str) -> Any:
        """What fine-tuned models answer behind."""
        return self._service(EndpointServiceClient, location)

    def metadata(self, location: str) -> Any:
        """What knows a job's TensorBoard."""
        return self._service(MetadataServiceClient, location)

    def tensorboards(self, location: str) -> Any:
        """What holds a job's metrics."""
        return self._service(TensorboardServiceClient, location)

    def storage(self) -> Any:
        """Where datasets are put."""
        return self._once("storage", "", self._make_storage)

    def plain_json(self, name: str) -> Mapping[str, Any]:
        """A resource as it is written, words unknown to the installed package included. Blocking.

        The clients ask for enums as numbers, and drop a word that they do not know; for long-running operations they
        use a path (/ui/) that Google's discovery document does not have.
        """
        session = self._once("plain", "", self._session)
        answer = session.get(f"{self._host(location_of(name))}/v1/{quote(name)}", timeout=READ_TIMEOUT_S)
        if answer.status_code >= 400:
            raise from_http_response(answer)
        parsed = answer.json()
        return parsed if isinstance(parsed, dict) else {}

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            self._closed = True
            clients, self._clients = self._clients, {}
        for client in clients.values():
            getattr(client, "transport", client).close()

    def _host(self, location: str, override: str | None = None) -> str:
        # Multi-regions have names of another form than regions.
        if override or self._endpoint:
            return override or self._endpoint or ""
        if location in _MULTI_REGIONS:
            return f"https://aiplatform.{location}.rep.googleapis.com"
        if location == "global":
            return "https://aiplatform.googleapis.com"
        return f"https://{location}-aiplatform.googleapis.com"

    def _service(
        self, service: Any, location: str, override: str | None = None, *, sends_again: bool = True
    ) -> Any:
        def make() -> Any:
            transport = service.get_transport_class("rest")(
                credentials=self._credentials(), host=self._host(location, override)
            )
            _prepare(transport._session, sends_again=sends_again)
            return service(transport=transport)

        return self._once((service, sends_again), location, make)

    def _session(self) -> Any:
        session = AuthorizedSession(self._credentials())
        _prepare(session, sends_again=True)
        return session

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

    def _once(self, service: object, location: str, make: Callable[[], Any]) -> Any:
        with self._lock:
            if self._closed:
                raise TransientProviderError("the provider was closed")
            client = self._clients.get((service, location))
            if client is None:
                client = self._clients[service, location] = make()
            return client


def _prepare(session: Any, *, sends_again: bool = True) -> None:
    session.max_redirects = 0  # a token is for its own address alone, and a create call is made once
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter(pool_maxsize=16))
    if not sends_again:
        # After a 401 the session would fetch a new token and send the request again. The clients make their session
        # themselves and offer no option for it.
        session._refresh_status_codes = ()


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
        raise PermanentProviderError(
            "the service account key in the Secret is not whole; it needs client_email, token_uri and "
            "private_key, as Google Cloud hands it out",
            field=CREDENTIALS,
        ) from None  # the exception may hold a part of the key
