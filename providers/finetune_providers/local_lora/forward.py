"""The forward pass of training: logits where the loss counts, with the frozen layers below the adapters run once.

Notation: B rows, T positions (padded), H hidden size, V vocabulary, K labels in the batch, N layers of L adapted.

Two short cuts, each used only after it gave the plain model's logits on a batch of this very training:
- Where only the top N layers carry adapters, the hidden states (T, H) that enter layer L-N never change. They are
  computed once for each data set, kept on disk for other trials, and the top N layers are run from them.
- The head (H -> V) is applied at the K positions that have a label, not at all B*T.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from finetune_providers.local_lora.chat import IGNORED, Example, TrainingError

logger = logging.getLogger(__name__)
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}
# Rows are padded on the right and attention is causal, so that no real position ever sees padding: no mask needed.


def find_layers(decoder: nn.Module, count: int) -> tuple[str, nn.ModuleList]:
    """The decoder's list of layers and its attribute's name ("layers", "h").

    Raises:
        TrainingError: The architecture keeps its layers in another way.
    """
    for name, child in decoder.named_children():
        if isinstance(child, nn.ModuleList) and len(child) == count:
            return name, child
    raise TrainingError(f"cannot find the {count} layers of {type(decoder).__name__}; leave out loraLayers")


class _BoundaryReached(Exception):
    """Carries the hidden states out of a forward pass that is not needed any further."""


class Forward:
    """Computes logits at labelled positions of a model with adapters.

    Args:
        model: A PEFT model over a transformers causal LM.
        lora_layers: N; None or L where every layer has adapters.
    """

    def __init__(self, model: Any, *, lora_layers: int | None) -> None:
        self.model = model
        base = model.get_base_model()
        self._decoder: Any = base.get_decoder()
        self._head: Any = base.get_output_embeddings()
        self.device: torch.device = base.device
        self.dtype: torch.dtype = base.dtype
        count = int(base.config.num_hidden_layers)
        self.boundary = count - (lora_layers or count)
        # Where layers differ in kind, a shortened list would not line up with the model's own masks.
        kinds = set(getattr(base.config, "layer_types", None) or ())
        self.can_cut = self.boundary > 0 and len(kinds) <= 1
        if self.boundary > 0:
            self._name, self._layers = find_layers(self._decoder, count)
        self._short_head = False

    def verify(self, examples: Sequence[Example]) -> bool:
        """Compare the short cuts with the plain model on a few examples and keep those that are exact.

        Returns:
            Whether the layers below the boundary may be left out.
        """
        with torch.no_grad():
            plain = self.plain_logits(examples)
            self._short_head = True
            if not self._agrees(plain, lambda: self.plain_logits(examples), "the shortened head"):
                self._short_head = False
            return self.can_cut and self._agrees(
                plain, lambda: self.logits_above(examples, self.below(examples)), "the frozen layers' cache"
            )

    def _agrees(self, plain: Tensor, shortcut: Callable[[], Tensor], name: str) -> bool:
        try:
            got = shortcut()
        except (TypeError, ValueError, RuntimeError, AttributeError) as error:
            logger.warning("%s is not used: %s", name, type(error).__name__)
            return False
        difference = float((got - plain).abs().max() / plain.abs().max().clamp_min(1e-6))
        exact = difference <= _TOLERANCE.get(self.dtype, 3e-2)
        logger.info("%s: relative difference %.1e, %s", name, difference, "used" if exact else "not used")
        return exact

    def plain_logits(self, examples: Sequence[Example]) -> Tensor:
        """Logits that predict the labels, through all layers, shape (K, V) in float32."""
        ids = nn.utils.rnn.pad_sequence(
            [torch.tensor(example.ids) for example in examples], batch_first=True
        ).to(self.device)
        if self._short_head:
            hidden = self._decoder(input_ids=ids, use_cache=False).last_hidden_state
            return self._pick_and_project(hidden, examples)
        logits = self.model(input_ids=ids, use_cache=False).logits
        return self._pick(logits, examples).float()

    def below(self, examples: Sequence[Example]) -> list[Tensor]:
        """Hidden states that enter the first adapted layer: one tensor (T_i, H) an example."""
        ids = nn.utils.rnn.pad_sequence(
            [torch.tensor(example.ids) for example in examples], batch_first=True
        ).to(self.device)
        caught: list[Tensor] = []

        def leave(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            caught.append(args[0] if args else kwargs["hidden_states"])
            raise _BoundaryReached

        hook = self._layers[self.boundary].register_forward_pre_hook(leave, with_kwargs=True)
        try:
            with torch.no_grad():
                self._decoder(input_ids=ids, use_cache=False)
        except _BoundaryReached:
            pass
        finally:
            hook.remove()
        return [row[: len(example.ids)] for row, example in zip(caught[0], examples, strict=True)]

    def logits_above(self, examples: Sequence[Example], hidden: Sequence[Tensor]) -> Tensor:
        """Logits that predict the labels, from the hidden states that `below` gave, shape (K, V) in float32."""
        embeddings = nn.utils.rnn.pad_sequence(list(hidden), batch_first=True).to(self.device, self.dtype)
        with self._cut():
            output = self._decoder(inputs_embeds=embeddings, use_cache=False)
        return self._pick_and_project(output.last_hidden_state, examples)

    @contextmanager
    def _cut(self) -> Iterator[None]:
        """The model with only its top layers. It is whole again outside, so that adapters keep their real names."""
        setattr(self._decoder, self._name, self._layers[self.boundary :])
        try:
            yield
        finally:
            setattr(self._decoder, self._name, self._layers)

    def _pick(self, values: Tensor, examples: Sequence[Example]) -> Tensor:
        """Of (B, T, X) the positions whose next token has a label, shape (K, X), row by row."""
        rows, columns = [], []
        for row, example in enumerate(examples):
            for column, label in enumerate(example.labels[1:]):
                if label != IGNORED:
                    rows.append(row)
                    columns.append(column)
        return values[rows, columns]

    def _pick_and_project(self, hidden: Tensor, examples: Sequence[Example]) -> Tensor:
        logits: Tensor = self._head(self._pick(hidden, examples))
        return logits.float()


def labels_of(examples: Sequence[Example]) -> Tensor:
    """The labels in the order of the logits' rows, shape (K,)."""
    return torch.tensor(
        [label for example in examples for label in example.labels[1:] if label != IGNORED],
        dtype=torch.long,
    )
