"""The training loop: AdamW on the adapters, linear decay, gradients clipped to norm 1.

The order of the data depends on seed and epoch alone, and there is no dropout, so that a training that was
interrupted and goes on from its checkpoint ends where an uninterrupted one ends.
"""

from __future__ import annotations

import logging
import math
import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from finetune_providers.local_lora.chat import Example, TrainingError
from finetune_providers.local_lora.forward import Forward, labels_of

logger = logging.getLogger(__name__)
# Tokens that go through the model together; a larger batch is split and its gradients are added up.
_TOKENS_AT_ONCE = 8192

Series = tuple[tuple[int, Mapping[str, float]], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the loop follows."""

    epochs: int
    batch_size: int
    learning_rate: float
    seed: int


@dataclass(slots=True)
class Position:
    """Where the training is; goes into the checkpoint.

    Attributes:
        step: Optimizer steps taken.
        loss_sum: Of the losses of this epoch's steps so far.
        series: Metrics so far.
    """

    step: int = 0
    loss_sum: float = 0.0
    series: Series = ()


@dataclass(frozen=True, slots=True)
class DataSet:
    """Examples with the hidden states of the frozen layers, where those are used: (T_i, H) each."""

    examples: Sequence[Example]
    hidden: Sequence[Tensor] | None = None


class Training:
    """One trial's training.

    Args:
        forward: The model.
        plan: Epochs, batch size, learning rate, seed.
        train: What is learned.
        valid: What the validation metrics are computed on, if there is any.
    """

    def __init__(self, forward: Forward, plan: Plan, *, train: DataSet, valid: DataSet | None) -> None:
        self._forward = forward
        self._plan = plan
        self._train = train
        self._valid = valid
        self.parameters: dict[str, Any] = {
            name: value for name, value in forward.model.named_parameters() if value.requires_grad
        }
        self._optimizer = torch.optim.AdamW(
            list(self.parameters.values()), lr=plan.learning_rate, weight_decay=0.0
        )
        self.steps_per_epoch = math.ceil(len(train.examples) / plan.batch_size)
        self.total_steps = plan.epochs * self.steps_per_epoch
        self.position = Position()

    @property
    def trained_tokens(self) -> int:
        return self._plan.epochs * sum(len(example.ids) for example in self._train.examples)

    def train(self, *, beat: Callable[[], None], epoch_done: Callable[[], None]) -> None:
        """Train to the end from wherever `position` is.

        Args:
            beat: Called after each piece of work; may raise to interrupt.
            epoch_done: Called when an epoch and its validation are complete.

        Raises:
            TrainingError: The loss is not finite.
        """
        if not self.position.series and self._valid is not None:
            self.position.series = ((0, self._validate(beat)),)
        # A checkpoint that was written while an epoch was validated has its steps, but not yet its metrics.
        if self._epoch_is_due:
            self._end_epoch(beat)
            epoch_done()
        while self.position.step < self.total_steps:
            epoch, first = divmod(self.position.step, self.steps_per_epoch)
            for batch in self._batches(epoch)[first:]:
                self._step(batch)
                if self._epoch_is_due:
                    self._end_epoch(beat)
                    epoch_done()
                beat()

    @property
    def _epoch_is_due(self) -> bool:
        """Whether all steps of an epoch are taken and its metrics are still missing."""
        step, series = self.position.step, self.position.series
        return step > 0 and step % self.steps_per_epoch == 0 and (not series or series[-1][0] < step)

    def _batches(self, epoch: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(self._plan.seed * 100_003 + epoch)
        order = torch.randperm(len(self._train.examples), generator=generator).tolist()
        size = self._plan.batch_size
        return [order[start : start + size] for start in range(0, len(order), size)]

    def _step(self, batch: Sequence[int]) -> None:
        position = self.position
        labels = sum(len(labels_of([self._train.examples[index]])) for index in batch)
        loss_sum = 0.0
        self._optimizer.zero_grad()
        for part in _parts(self._train.examples, batch):
            logits, targets = self._logits(self._train, part)
            loss = cross_entropy(logits, targets, reduction="sum") / labels
            loss.backward()  # type: ignore[no-untyped-call]
            loss_sum += float(loss.detach())
        norm = torch.nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        if not (math.isfinite(loss_sum) and bool(torch.isfinite(norm))):
            raise _not_finite("training", position.step + 1)
        for group in self._optimizer.param_groups:
            group["lr"] = self._plan.learning_rate * (1 - position.step / self.total_steps)
        self._optimizer.step()
        position.step += 1
        position.loss_sum += loss_sum

    def _logits(self, data: DataSet, indexes: Sequence[int]) -> tuple[Tensor, Tensor]:
        examples = [data.examples[index] for index in indexes]
        if data.hidden is None:
            logits = self._forward.plain_logits(examples)
        else:
            logits = self._forward.logits_above(examples, [data.hidden[index] for index in indexes])
        return logits, labels_of(examples).to(logits.device)

    def _end_epoch(self, beat: Callable[[], None]) -> None:
        position = self.position
        values = {"trainingLoss": position.loss_sum / self.steps_per_epoch}
        if self._valid is not None:
            values |= self._validate(beat)
        position.series = (*position.series, (position.step, values))
        position.loss_sum = 0.0
        logger.info("step %d of %d: %s", position.step, self.total_steps, values)

    @torch.no_grad()
    def _validate(self, beat: Callable[[], None]) -> dict[str, float]:
        if self._valid is None:
            return {}
        loss, hits, count = 0.0, 0, 0
        for part in _parts(self._valid.examples, range(len(self._valid.examples)), rows=32):
            logits, targets = self._logits(self._valid, part)
            loss += float(cross_entropy(logits, targets, reduction="sum"))
            hits += int((logits.argmax(-1) == targets).sum())
            count += len(targets)
            beat()
        if not math.isfinite(loss):
            raise _not_finite("validation", self.position.step)
        return {"validationLoss": loss / count, "validationTokenAccuracy": hits / count}

    def save(self, path: Path) -> None:
        """Write a checkpoint that replaces the last one only once it is complete on disk."""
        position = self.position
        content = {
            "parameters": {name: value.detach() for name, value in self.parameters.items()},
            "optimizer": self._optimizer.state_dict(),
            "position": {
                "step": position.step,
                "loss_sum": position.loss_sum,
                "series": [(step, dict(values)) for step, values in position.series],
            },
        }
        draft = path.with_suffix(".new")
        with draft.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint; without one, or with one that cannot be read, from the start."""
        try:
            content = torch.load(path, map_location=self._forward.device, weights_only=True)
        except FileNotFoundError:
            return
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
            logger.warning("the checkpoint cannot be read (%s): starting again", type(error).__name__)
            return
        with torch.no_grad():
            for name, value in self.parameters.items():
                value.copy_(content["parameters"][name])
        self._optimizer.load_state_dict(content["optimizer"])
        saved = content["position"]
        self.position = Position(saved["step"], saved["loss_sum"], tuple(saved["series"]))
        logger.info("going on from step %d", self.position.step)


def _parts(
    examples: Sequence[Example], indexes: Sequence[int], *, rows: int = 1024
) -> Iterator[Sequence[int]]:
    """Cut a batch into pieces of bounded size, padding counted."""
    longest = max(len(examples[index].ids) for index in indexes)
    size = max(1, min(rows, _TOKENS_AT_ONCE // longest))
    for start in range(0, len(indexes), size):
        yield indexes[start : start + size]


def _not_finite(kind: str, step: int) -> TrainingError:
    return TrainingError(f"{kind} loss is not finite at step {step}; lower learningRate")
