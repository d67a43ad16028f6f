"""Measures the table of the Local provider's LoRA sweep: each cell is one real training of SmolLM2-135M.

The space is that of `examples/quickstart.yaml`, with fewer ranks and learning rates, on its data; the value
is the validation loss after the last epoch. Cells are written one by one, so that a measurement that was broken
off goes on, and the table holds the ranks of which all cells are there.

    python -m tests.benchmarks.search.measure_local           measure what is missing, write the table
    python -m tests.benchmarks.search.measure_local --pack    write the table only
"""

import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tests.benchmarks.search.table_files import TABLES, save_table

REPOSITORY = Path(__file__).parents[3]
CELLS = REPOSITORY / ".cache/bench-search/local-cells.jsonl"
AXES: dict[str, list[Any]] = {
    "loraRank": [16, 4],
    "learningRate": [0.0003, 0.00095, 0.003, 0.0095, 0.03],
    "batchSize": [4, 8, 16],
    "epochs": [1, 2, 3],
}
LAYERS = 2


def cells() -> Iterator[dict[str, Any]]:
    """All cells, rank by rank."""
    for values in itertools.product(*AXES.values()):
        yield {"loraLayers": LAYERS, **dict(zip(AXES, values, strict=True))}


def write_data(folder: Path) -> None:
    """Write the quickstart's data as files."""
    documents = list(yaml.safe_load_all((REPOSITORY / "examples/quickstart.yaml").read_text("utf-8")))
    data = next(entry for entry in documents if entry["kind"] == "ConfigMap")["data"]
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in data.items():
        (folder / name).write_text(text, "utf-8")


def measure(cell: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train one cell; the seed is that of the provider's first job."""
    from finetune_providers.local_lora.jobs import TrainingRequest
    from finetune_providers.local_lora.models import BUNDLED_NAME
    from finetune_providers.local_lora.options import LocalOptions
    from finetune_providers.local_lora.setup import prepare

    request = TrainingRequest(
        key="cell",
        labels={},
        created_at="",
        base_model=BUNDLED_NAME,
        training=str(folder / "train.jsonl"),
        validation=str(folder / "valid.jsonl"),
        hyperparameters={"loraAlpha": 16, "maxLength": 512, **cell},
        seed=0,
        options=LocalOptions(device="cpu"),
    )
    began = time.process_time()
    training, _ = prepare(request, cache=folder / "hidden-states", beat=lambda: None)
    training.train(beat=lambda: None, epoch_done=lambda: None)
    last = training.position.series[-1][1]
    return {
        **cell,
        "validationLoss": last["validationLoss"],
        "validationTokenAccuracy": last["validationTokenAccuracy"],
        "cpuSeconds": round(time.process_time() - began, 2),
    }


def measured() -> list[dict[str, Any]]:
    """The cells measured so far."""
    return [json.loads(line) for line in CELLS.read_text("utf-8").splitlines()] if CELLS.exists() else []


def key_of(cell: dict[str, Any]) -> tuple[Any, ...]:
    """What tells one cell from another."""
    return tuple(cell[name] for name in AXES)


def pack() -> None:
    """Write the table of the complete ranks, shape (ranks, rates, batch sizes, epochs, 1)."""
    found = {key_of(cell): cell["validationLoss"] for cell in measured()}
    _, *others = AXES.values()
    ranks = [
        rank
        for rank in AXES["loraRank"]
        if all((rank, *rest) in found for rest in itertools.product(*others))
    ]
    print(f"{len(found)} cells are measured, complete ranks: {ranks}")
    if ranks:
        values = [found[rank, *rest] for rank in sorted(ranks) for rest in itertools.product(*others)]
        shape = (len(ranks), *(len(axis) for axis in others), 1)
        save_table(TABLES / "local_lora.npz", np.array(values).reshape(shape))


def main(arguments: list[str]) -> None:
    """Measure and pack."""
    if "--pack" not in arguments:
        folder = CELLS.parent / "local"
        write_data(folder)
        done = {key_of(cell) for cell in measured()}
        for cell in cells():
            if key_of(cell) not in done:
                line = json.dumps(measure(cell, folder))
                with CELLS.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
                print(line, flush=True)
    pack()


if __name__ == "__main__":
    main(sys.argv[1:])
