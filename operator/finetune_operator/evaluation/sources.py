"""Bringing a dataset here from where it lies, checked on the way.

Errors name a source without its user, password and query: a signed URL is a secret. That is also why the
errors of the libraries below are not chained to ours; their texts hold the whole URL.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

import aiohttp
import fsspec

from finetune_operator.errors import DatasetUnavailable, InvalidManifest, Problem
from finetune_operator.evaluation.addresses import PublicConnections
from finetune_operator.evaluation.dataset import MAX_DATASET_BYTES, check_chunks
from finetune_operator.resources import DataSource
from finetune_providers.base import DatasetFile

EXTRAS = {"s3": "s3", "gs": "gcs"}
SCHEMES = ("file", "http", "https", "s3", "gs")

_FETCHES_AT_ONCE = 32
# Threads of their own: a source that dribbles holds its thread for an hour, and in the pool that all share the
# decisions of every other sweep would wait behind a handful of such.
_THREADS = ThreadPoolExecutor(_FETCHES_AT_ONCE, thread_name_prefix="dataset")
_CHUNK_BYTES = 1024**2
_CONNECT_TIMEOUT_S = 30
_READ_TIMEOUT_S = 60
_NOT_PUBLIC = (
    "leads to an address that is not public (private, loopback, link-local or reserved), from which this operator "
    "reads no datasets; use a public host, a bucket (s3://, gs://) or configMapRef, or have the operator started "
    "with --allow-private-datasets"
)
_LIBRARY_ERRORS = (
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
)


@dataclass(frozen=True, slots=True)
class SourceRules:
    """Where datasets may come from.

    Attributes:
        schemes: Schemes of URIs that may be used here; a cluster leaves `file` out.
        private_addresses: Whether http:// and https:// may lead to addresses that are not public. Who may write a
            sweep chooses them, so a cluster says no unless its administrator says otherwise. The endpoints of
            s3:// and gs:// come from the operator's environment, which is the administrator's already.
    """

    schemes: Collection[str] = SCHEMES
    private_addresses: bool = True


ANYWHERE = SourceRules()
IN_A_CLUSTER = SourceRules(tuple(scheme for scheme in SCHEMES if scheme != "file"), private_addresses=False)


@dataclass(frozen=True, slots=True)
class FetchedDataset(DatasetFile):
    """A checked dataset on this machine, with what the check counted.

    Attributes:
        characters: Of all contents together.
        estimated_tokens: As `DatasetSummary.estimated_tokens`.
    """

    characters: int = 0
    estimated_tokens: int = 0


async def fetch(
    source: DataSource,
    *,
    field: str,
    into: Path,
    config_map: Callable[[str, str], Awaitable[str]],
    max_bytes: int = MAX_DATASET_BYTES,
    rules: SourceRules = ANYWHERE,
    deadline_s: float = 3600,
) -> FetchedDataset:
    """Fetch a dataset, check it and write its canonical form to `into/<sha256>.jsonl`.

    Args:
        source: Where it lies.
        field: Path of the field that holds the source, such as `spec.dataset.training`.
        into: Folder for the file; made if it is missing. A dataset of the same content is one file.
        config_map: Gives the text of a ConfigMap's key; raises LookupError where there is none and OSError
            where it cannot be read now.
        max_bytes: Size from which a dataset is refused.
        rules: Where it may lie.
        deadline_s: Seconds after which the transfer is given up.

    Raises:
        InvalidManifest: The URI cannot be used, whatever lies there.
        InvalidDataset: What lies there is no dataset.
        DatasetUnavailable: It is missing or cannot be read now.
        OSError: `into` cannot be written.
    """
    stop = threading.Event()
    if source.config_map_ref is not None:
        name, key = source.config_map_ref.name, source.config_map_ref.key
        text = await _config_map_text(config_map, name, key, field)
        chunks: Iterator[bytes] = iter((text.encode("utf-8", errors="surrogatepass"),))
    else:
        uri = source.uri or ""
        _check_uri(uri, field, rules.schemes)
        connections = None if rules.private_addresses else PublicConnections()
        deadline = time.monotonic() + deadline_s
        chunks = _read(uri, connections, field=field, stop=stop, deadline=deadline)
    try:
        store = functools.partial(_store, chunks, into, field=field, max_bytes=max_bytes)
        return await asyncio.get_running_loop().run_in_executor(_THREADS, store)
    finally:
        stop.set()  # if this call was cancelled, its thread ends with the next chunk


async def _config_map_text(
    config_map: Callable[[str, str], Awaitable[str]], name: str, key: str, field: str
) -> str:
    try:
        return await config_map(name, key)
    except LookupError as error:
        message = f"there is no key {key} in a ConfigMap {name}; create it, or correct the reference"
        raise DatasetUnavailable(message, field=field) from error
    except OSError as error:
        message = f"the ConfigMap {name} cannot be read now: {type(error).__name__}"
        raise DatasetUnavailable(message, field=field) from error


def redacted(uri: str) -> str:
    """A URI as it may be shown: without user, password, query and fragment."""
    if uri.startswith("file://"):
        return uri
    try:
        parts = urlsplit(uri)
    except ValueError:
        return f"{uri.partition(':')[0]}://…"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _check_uri(uri: str, field: str, allowed: Collection[str]) -> None:
    scheme = uri.partition("://")[0]
    usable = [name for name in SCHEMES if name in allowed]
    message = ""
    if scheme not in usable:
        names = ", ".join(f"{name}://" for name in usable) or "none"
        message = f"scheme {scheme}:// cannot be used here; allowed: {names}, or configMapRef"
    elif scheme == "file" and not uri.startswith("file:///"):
        message = f"{uri} is relative; write file:///absolute/path.jsonl"
    elif scheme != "file" and not _has_host(uri):
        message = (
            f"names no {'host' if scheme.startswith('http') else 'bucket'}; write {scheme}://name/path.jsonl"
        )
    if message:
        raise InvalidManifest((Problem(f"{field}.uri", message),))


def _has_host(uri: str) -> bool:
    try:
        return bool(urlsplit(uri).hostname)
    except ValueError:
        return False


def _read(
    uri: str, connections: PublicConnections | None, *, field: str, stop: threading.Event, deadline: float
) -> Iterator[bytes]:
    """The bytes behind a URI, as a generator that blocks."""
    shown = redacted(uri)
    scheme = uri.partition("://")[0]
    try:
        with _open(uri, scheme, connections) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                yield chunk
                if stop.is_set() or time.monotonic() > deadline:
                    raise DatasetUnavailable(f"{shown} was not read in the time allowed", field=field)
    except ImportError:
        extra = EXTRAS.get(scheme, "all")
        message = (
            f"{scheme}:// needs a package that is not installed: pip install 'finetune-operator[{extra}]'"
        )
        raise DatasetUnavailable(message, field=field) from None
    except ValueError:
        message = f"{shown} is not a URI that can be opened; check its host, port and special characters"
        raise InvalidManifest((Problem(f"{field}.uri", message),)) from None
    except _transport_errors() as error:
        if connections is not None and connections.refused:
            raise InvalidManifest((Problem(f"{field}.uri", f"{shown} {_NOT_PUBLIC}"),)) from None
        raise DatasetUnavailable(f"{shown} cannot be read: {_reason(error)}", field=field) from None


def _open(uri: str, scheme: str, connections: PublicConnections | None) -> BinaryIO:
    """Open a URI with its scheme's file system only: fsspec's chains (`a://b::file://c`) stay shut."""
    if scheme == "file":
        path = unquote(uri.removeprefix("file://"))
        if Path(path).exists() and not Path(path).is_file():
            raise IsADirectoryError(path)  # a named pipe would block for ever
        return _opened(fsspec.filesystem("file"), path)
    if scheme in {"http", "https"}:
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_TIMEOUT_S, sock_read=_READ_TIMEOUT_S
        )
        only = {} if connections is None else {"get_client": connections.client()}
        system = fsspec.filesystem(
            scheme, client_kwargs={"timeout": timeout}, skip_instance_cache=True, **only
        )
        # One plain GET: with a size given, fsspec asks for none beforehand, and signed URLs refuse HEAD.
        return _opened(system, uri, block_size=0, size=1)
    return _opened(fsspec.filesystem(scheme), uri)


def _opened(system: Any, path: str, **options: int) -> BinaryIO:
    stream: BinaryIO = system.open(path, mode="rb", **options)
    return stream


def _transport_errors() -> tuple[type[Exception], ...]:
    """What the libraries raise when a file cannot be read; those that are not loaded raise nothing."""
    loaded = (
        getattr(sys.modules[module], name)
        for module, name in _LIBRARY_ERRORS
        if hasattr(sys.modules.get(module), name)
    )
    return (OSError, aiohttp.ClientError, *loaded)


def _reason(error: Exception) -> str:
    """Why, from an error's type and codes only: its text may hold the URL."""
    status = getattr(error, "status", None) or getattr(error, "code", None)
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, IsADirectoryError):
        return "it is not a file"
    if isinstance(error, PermissionError):
        return "no permission; check the credentials that the operator has"
    if isinstance(status, int):
        return f"HTTP status {status}"
    if isinstance(error, OSError) and error.errno and not isinstance(error, aiohttp.ClientError):
        return os.strerror(error.errno)
    return type(error).__name__


def _store(chunks: Iterator[bytes], into: Path, *, field: str, max_bytes: int) -> FetchedDataset:
    """Check and write; the file appears under its name only when it is whole."""
    into.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=into, prefix=".", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            summary = check_chunks(chunks, field=field, max_bytes=max_bytes, sink=stream.write)
            stream.flush()
            os.fsync(stream.fileno())
        path = into / f"{summary.content_hash}.jsonl"
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return FetchedDataset(
        path,
        summary.content_hash,
        summary.examples,
        characters=summary.characters,
        estimated_tokens=summary.estimated_tokens,
    )
