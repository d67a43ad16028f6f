"""Tables of measured problems: read and written here, quantised to 16 bits so that they stay small."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TABLES = Path(__file__).with_name("tables")
_LEVELS = 2**16 - 1


def save_table(path: Path, values: "NDArray[np.float64]") -> None:
    """Write an array of any shape; NaN is not allowed."""
    low, high = float(values.min()), float(values.max())
    levels = np.rint((values - low) / ((high - low) or 1.0) * _LEVELS).astype(np.uint16)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, levels=levels, bounds=np.array([low, high]))


def load_table(path: Path) -> "NDArray[np.float64]":
    """Read what `save_table` wrote, to within the 65,535th part of its range."""
    with np.load(path, allow_pickle=False) as content:
        low, high = content["bounds"]
        return np.asarray(low + content["levels"] / _LEVELS * (high - low))
