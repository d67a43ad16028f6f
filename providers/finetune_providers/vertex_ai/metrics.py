"""A tuning job's metrics, from the TensorBoard that Vertex AI writes them to."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.cloud import aiplatform_v1 as api

from finetune_providers.base import MetricPoint
from finetune_providers.errors import UnexpectedResponse
from finetune_providers.paging import PageTokens
from finetune_providers.series import thinned
from finetune_providers.vertex_ai.account import Account, Ask

METRICS = {
    "/train_total_loss": "trainingLoss",
    "/eval_total_loss": "validationLoss",
    "/eval_fraction_of_correct_next_step_preds": "validationTokenAccuracy",
}
"""Canonical names by the names that tuning jobs write.

Source: docs.cloud.google.com gemini-use-supervised-tuning, "Tuning and validation metrics", read 2026-11-23.
"""


async def read_series(account: Account, experiment: str, ask: Ask) -> tuple[MetricPoint, ...]:
    """The metrics of a job; none where it has no TensorBoard.

    Args:
        account: Where to read.
        experiment: Resource name of the job's experiment, as the job gives it; "" where it has none.
        ask: How each call is made.

    Raises:
        ProviderError: They could not be read.
    """
    if not experiment:
        return ()
    context = await ask(lambda: account.ask("GET", experiment, api.Context))
    board = context.metadata.fields["backing_tensorboard_resource"].string_value
    points: dict[int, dict[str, float]] = {}
    if board:
        parent = f"{board}/experiments/{experiment.rpartition('/')[2]}"
        path, answer = f"{parent}/runs", api.ListTensorboardRunsResponse
        for each in await _all(account, path, answer, "tensorboard_runs", ask):
            for step, metric, value in await _values(account, board, each.name, ask):
                points.setdefault(step, {})[metric] = value
    return thinned([MetricPoint(step, values) for step, values in sorted(points.items())])


async def _all(account: Account, path: str, answer: Any, field: str, ask: Ask) -> list[Any]:
    """What a list has on all of its pages, in a field of the answer."""
    found: list[Any] = []
    token, tokens = "", PageTokens(f"Vertex AI's list {path}")
    while True:
        page = await ask(functools.partial(account.ask, "GET", path, answer, query=[("pageToken", token)]))
        found += getattr(page, field)
        token = tokens.follow(page.next_page_token)
        if not token:
            return found


async def _values(account: Account, board: str, parent: str, ask: Ask) -> Sequence[tuple[int, str, float]]:
    path, answer = f"{parent}/timeSeries", api.ListTensorboardTimeSeriesResponse
    wanted = {
        each.name: METRICS[each.display_name]
        for each in await _all(account, path, answer, "tensorboard_time_series", ask)
        if each.display_name in METRICS
    }
    if not wanted:
        return ()

    def call() -> Any:
        return account.ask(
            "GET",
            f"{board}:batchRead",
            api.BatchReadTensorboardTimeSeriesDataResponse,
            query=[("timeSeries", name) for name in sorted(wanted)],
        )

    return tuple(_scalars(await ask(call), {name.rpartition("/")[2]: wanted[name] for name in wanted}))


def _scalars(answer: Any, by_id: Mapping[str, str]) -> Iterator[tuple[int, str, float]]:
    for series in answer.time_series_data:
        if series.tensorboard_time_series_id not in by_id:
            raise UnexpectedResponse(f"series {series.tensorboard_time_series_id!r} was not asked for")
        for value in series.values:
            if value.WhichOneof("value") == "scalar" and math.isfinite(value.scalar.value):
                yield value.step, by_id[series.tensorboard_time_series_id], value.scalar.value
