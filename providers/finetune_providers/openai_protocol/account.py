"""What a provider over the fine-tuning API works with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_providers.base import Capabilities
from finetune_providers.calls import Calls
from finetune_providers.catalog import Catalog
from finetune_providers.openai_protocol.data import DataLimits


@dataclass(frozen=True, slots=True)
class Account:
    """What one account's provider works with.

    Attributes:
        company: As people call it.
        client: The SDK's client, which tries once.
        chat: The client for answers, where that is another address.
        calls: How calls are made.
        catalog: The base models.
        capabilities: What is offered.
        limits: What datasets may be.
        dialect: Part of the names of uploads.
        bom: Whether uploads begin with a byte order mark.
        work_dir: A folder of the account's own.
    """

    company: str
    client: Any
    chat: Any
    calls: Calls
    catalog: Catalog
    capabilities: Capabilities
    limits: DataLimits
    dialect: str
    work_dir: Path
    bom: bool = False
