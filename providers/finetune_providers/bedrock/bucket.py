"""The bucket: datasets, and what jobs write beside them."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from finetune_providers.base import DatasetFile, MetricPoint
from finetune_providers.bedrock.aws import STORAGE, Answer, Aws, inner, number_of, text_of
from finetune_providers.bedrock.data import Convert, read_series
from finetune_providers.bedrock.settings import DATA_URI, Settings
from finetune_providers.calls import UPLOAD_TIMEOUT_S
from finetune_providers.conversations import upload_name, write_converted
from finetune_providers.errors import JobNotFound, PermanentProviderError
from finetune_providers.paging import PageTokens

logger = logging.getLogger(__name__)


class Bucket:
    """The folder of `spec.dataUri`."""

    def __init__(self, aws: Aws, settings: Settings, work_dir: Path) -> None:
        """Keep what is on its way in `work_dir`."""
        self._aws, self._settings, self._work_dir = aws, settings, work_dir

    async def put(self, dataset: DatasetFile, convert: Convert, *, dialect: str) -> str:
        """See to it that a dataset is there, converted; returns its URI."""
        name = upload_name(dataset, dialect=dialect)
        place = {"Bucket": self._settings.bucket, "Key": self._settings.key(name)}

        def convert_and_put() -> None:
            self._work_dir.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self._work_dir, prefix="upload-") as folder:
                path = write_converted(dataset, Path(folder) / name, convert)
                with path.open("rb") as body:
                    self._aws.clients.call(STORAGE, "put_object", **place, Body=body)

        try:
            await self._aws.read(STORAGE, "head_object", **place)
        except JobNotFound:
            calls = self._aws.calls
            await calls.read(lambda: calls.in_thread(convert_and_put), timeout_s=UPLOAD_TIMEOUT_S)
        return self._settings.uri(name)

    async def delete(self, scope: str) -> None:
        """Delete a scope's datasets and what its jobs wrote; the bucket's older versions are left to the bucket."""
        bucket = self._settings.bucket
        async for key in self._keys(bucket, self._settings.key(f"{scope}.")):
            await self._aws.read(STORAGE, "delete_object", Bucket=bucket, Key=key)

    async def _keys(self, bucket: str, prefix: str) -> AsyncIterator[str]:
        more: dict[str, str] = {}
        tokens = PageTokens("the bucket's list of objects")
        while True:
            page = await self._aws.read(STORAGE, "list_objects_v2", Bucket=bucket, Prefix=prefix, **more)
            for item in page.get("Contents", ()):  # S3 leaves it out where there is none
                if (key := text_of(item, "Key")).startswith(prefix):
                    yield key
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": tokens.follow(text_of(page, "NextContinuationToken"))}

    async def series(self, job_id: str, job: Answer) -> tuple[MetricPoint, ...]:
        """A finished job's metrics; where its files cannot be read, what the job itself says of them."""
        files = {"step_wise_training_metrics.csv": "", "validation_metrics.csv": ""}
        place = DATA_URI.fullmatch(str(inner(job, "outputDataConfig", "s3Uri")).rstrip("/"))
        if place is not None:
            folder = f"model-customization-job-{job_id.rpartition('/')[2]}/"
            prefix = f"{place['prefix']}/{folder}" if place["prefix"] else folder
            try:
                async for key in self._keys(place["bucket"], prefix):
                    if (name := key.rpartition("/")[2]) in files:
                        files[name] = await self._aws.text(place["bucket"], key)
            except PermanentProviderError as error:
                logger.warning("metrics of %s could not be read: %s", job_id, error)
        losses = job.get("validationMetrics") or [{}]
        # A file may have a row for each of a hundred thousand steps.
        return await self._aws.calls.in_thread(
            read_series,
            *files.values(),
            final_training=number_of(inner(job, "trainingMetrics", "trainingLoss")),
            final_validation=number_of(inner(losses[0], "validationLoss")),
        )
