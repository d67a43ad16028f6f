"""When a kind of the tests' API server can be used."""

from typing import Any

import pytest

from controlplane.plane import is_served

ESTABLISHED = {"type": "Established", "status": "True"}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, False),
        ({"conditions": None}, False),
        ({"conditions": []}, False),
        ({"conditions": [{"type": "NamesAccepted", "status": "True"}]}, False),
        ({"conditions": [{"type": "Established", "status": "False"}]}, False),
        ({"conditions": [{"type": "NamesAccepted", "status": "True"}, ESTABLISHED]}, True),
    ],
)
def test_a_definition_is_served_once_it_is_established(status: dict[str, Any] | None, expected: bool) -> None:
    assert is_served({} if status is None else {"status": status}) is expected
