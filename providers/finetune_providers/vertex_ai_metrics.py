"""A tuning job's metrics, from the TensorBoard that Vertex AI writes them to."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from google.cloud import aiplatform_v1 as api

from finetune_providers.base import MetricPoint
from finetune_providers.errors import UnexpectedResponse
from finetune_providers.vertex_ai_account import Account, location_of

METRICS = {
    "/train_total_loss": "trainingLoss",
    "/eval_total_loss": "validationLoss",
    "/eval_fraction_of_correct_next_step_preds": "validationTokenAccuracy",
}
"""Canonical names by the names that tuning jobs write.

Source: docs.cloud.google.com gemini-use-supervised-tuning, "Tuning and validation metrics", read 2026-11-23.
"""

MOST_POINTS = 100

Read = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Makes a blocking call in a thread, paced and with its failures explained."""


async def read_series(
    account: Account, experiment: str, read: Read, *, timeout_s: float
) -> tuple[MetricPoint, ...]:
    """The metrics of a job.

    Args:
        account: Where to read.
        experiment: Resource name of the job's experiment, as the job gives it; "" where it has none.
        read: How each call is made.
        timeout_s: For each call.

    Raises:
        ProviderError: As `read` does.
    """
    if not experiment:
        return ()
    location, name = location_of(experiment), experiment.rpartition("/")[2]
    options = {"retry": None, "timeout": timeout_s}
    context = await read(lambda: account.metadata(location).get_context(name=experiment, **options))
    board = api.Context.pb(context).metadata.fields["backing_tensorboard_resource"].string_value
    if not board:
        return ()
    boards = location_of(board)

    async def pages(method: str, parent: str) -> list[Any]:
        def call() -> Any:
            return list(getattr(account.tensorboards(boards), method)(parent=parent, **options))

        return list(await read(call))

    points: dict[int, dict[str, float]] = {}
    for run in await pages("list_tensorboard_runs", f"{board}/experiments/{name}"):
        wanted = {
            each.name: METRICS[each.display_name]
            for each in await pages("list_tensorboard_time_series", run.name)
            if each.display_name in METRICS
        }
        if not wanted:
            continue
        request = api.BatchReadTensorboardTimeSeriesDataRequest(tensorboard=board, time_series=sorted(wanted))
        answer = await read(
            lambda request=request: account.tensorboards(boards).batch_read_tensorboard_time_series_data(
                request, **options
            )
        )
        for step, metric, value in _values(answer, wanted):
            points.setdefault(step, {})[metric] = value
    return thin([MetricPoint(step, values) for step, values in sorted(points.items())])


def _values(answer: Any, wanted: dict[str, str]) -> Iterator[tuple[int, str, float]]:
    by_id = {name.rpartition("/")[2]: metric for name, metric in wanted.items()}
    for series in api.BatchReadTensorboardTimeSeriesDataResponse.pb(answer).time_series_data:
        if series.tensorboard_time_series_id not in by_id:
            raise UnexpectedResponse(f"series {series.tensorboard_time_series_id!r} was not asked for")
        for value in series.values:
            if value.WhichOneof("value") == "scalar" and math.isfinite(value.scalar.value):
                yield value.step, by_id[series.tensorboard_time_series_id], value.scalar.value


def thin(points: Sequence[MetricPoint], most: int = MOST_POINTS) -> tuple[MetricPoint, ...]:
    """At most so many points: the first and last, then those with validation, then the others, evenly.

    Validation is measured far more seldom than the training loss, and it is what a model is judged by.
    """
    if len(points) <= most:
        return tuple(points)
    ends = {0, len(points) - 1}
    inner = [index for index in range(len(points)) if index not in ends]
    judged = [index for index in inner if set(points[index].values) - {"trainingLoss"}]
    kept = ends | set(_evenly(judged, most - len(ends)))
    kept |= set(_evenly([index for index in inner if index not in kept], most - len(kept)))
    return tuple(points[index] for index in sorted(kept))


def _evenly(items: Sequence[int], most: int) -> list[int]:
    if len(items) <= most:
        return list(items)
    return [items[number * len(items) // most] for number in range(most)]
