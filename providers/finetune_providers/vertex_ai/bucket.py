"""Datasets in Cloud Storage."""

from __future__ import annotations

import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from finetune_providers.base import DatasetFile
from finetune_providers.calls import READ_TIMEOUT_S, UPLOAD_TIMEOUT_S
from finetune_providers.conversations import upload_name, write_converted
from finetune_providers.errors import JobNotFound, PermanentProviderError
from finetune_providers.paging import PageTokens
from finetune_providers.vertex_ai.account import Account, Ask
from finetune_providers.vertex_ai.wire import to_contents

DIALECT = "gemini"

_OPTIONS: dict[str, Any] = {"retry": None, "timeout": READ_TIMEOUT_S}


class Bucket:
    """A folder of a bucket. An object is there whole or not at all, so that its name tells what it holds."""

    def __init__(self, account: Account, uri: str | None) -> None:
        """Read where the folder is, such as gs://bucket/folder; no I/O.

        Raises:
            PermanentProviderError: It is missing or malformed.
        """
        found = re.fullmatch(r"gs://([a-z0-9][a-z0-9._-]+)((?:/[^/]+)*)/?", uri or "")
        if found is None:
            what = f"{uri!r} is no folder of Cloud Storage" if uri else "the place for datasets is missing"
            raise PermanentProviderError(f"{what}; write gs://bucket/folder", field="spec.dataUri")
        self._account = account
        self._bucket = found[1]
        self._prefix = f"{found[2][1:]}/" if found[2] else ""

    async def put(self, dataset: DatasetFile, work_dir: Path, ask: Ask) -> str:
        """See to it that a dataset is there, in Gemini's dialect; returns its URI."""
        name = self._prefix + upload_name(dataset, dialect=DIALECT)
        there = await ask(lambda: self._folder().get_blob(name, **_OPTIONS))
        if there is None:
            await ask(lambda: self._send(dataset, name, work_dir), timeout_s=UPLOAD_TIMEOUT_S)
        return f"gs://{self._bucket}/{name}"

    async def delete(self, beginning: str, ask: Ask) -> None:
        """Delete every object whose name begins so."""

        def listed() -> list[Any]:
            client = self._account.storage()
            blobs = client.list_blobs(self._bucket, prefix=self._prefix + beginning, **_OPTIONS)
            found, tokens = [], PageTokens("Cloud Storage's list of objects")
            for page in blobs.pages:  # the package follows a token that comes again for ever
                found += page
                tokens.follow(blobs.next_page_token or "")
            return found

        for blob in await ask(listed):
            with suppress(JobNotFound):
                await ask(_deletion(blob))

    def _folder(self) -> Any:
        return self._account.storage().bucket(self._bucket)

    def _send(self, dataset: DatasetFile, name: str, work_dir: Path) -> None:
        work_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=work_dir, prefix="upload-") as folder:
            file = write_converted(dataset, Path(folder) / "data.jsonl", to_contents)
            self._folder().blob(name).upload_from_filename(
                str(file), content_type="application/jsonl", retry=None, timeout=UPLOAD_TIMEOUT_S
            )


def _deletion(blob: Any) -> Any:
    return lambda: blob.delete(**_OPTIONS)
