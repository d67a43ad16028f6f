"""How an account is reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """How to reach a provider account.

    Attributes:
        name: Name of the FinetuneProvider resource.
        type: Which provider, such as "Local".
        options: The type's own block of the resource (`spec.local` for Local), as written.
        credentials: The Secret's keys and values; never shown.
        work_dir: A folder of this account's own, for what the provider keeps on this machine.
        max_concurrent_jobs: Jobs that may be active at once.
        requests_per_minute: API calls that may be made in a minute, all of the account's together.
        endpoint: Base URL of the API instead of the provider's own, without a slash at its end.
        endpoints: Base URLs of further services, by `storage`, `inference`, `management` and `login`.
        region: Where the provider works, such as us-east-1.
        project: Project, where the provider has such a thing.
        data_uri: Where datasets are put, such as gs://bucket/folder, without a slash at its end.
        models: Base models that the catalog does not know, or other rules for those that it does, by name; in
            the form of `catalog.model_from_manifest`.
        lends_identity: Whether addresses that the resource names may be shown this machine's own identity, which
            an account without credentials works with. Who writes the resource may not be who owns the machine.
    """

    name: str
    type: str
    work_dir: Path
    options: Mapping[str, object] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    max_concurrent_jobs: int | None = None
    requests_per_minute: int | None = None
    endpoint: str | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict)
    region: str | None = None
    project: str | None = None
    data_uri: str | None = None
    models: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    lends_identity: bool = True
