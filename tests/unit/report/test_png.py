"""The picture of a report's plots."""

from __future__ import annotations

import struct

import pytest
from tests.unit.report.worlds import WORLDS

from finetune_operator.report.png import report_png


@pytest.mark.parametrize("world", ["usual", "several-branches", "nothing-succeeded", "hostile"])
def test_a_sweep_is_drawn(world: str) -> None:
    picture = report_png(WORLDS[world](), scale=1)
    assert picture.startswith(b"\x89PNG\r\n")
    width, height = struct.unpack(">II", picture[16:24])
    assert 900 < width < 1400
    assert height > (1000 if world != "nothing-succeeded" else 50)
