"""What the tests read of the API server's own record."""

from pathlib import Path

from controlplane.plane import whole_records


def test_a_record_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text('{"verb": "get"}\n{"verb": "li', "utf-8")
    assert whole_records(log) == [{"verb": "get"}]


def test_a_line_ends_where_the_server_ends_it(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text('{"verb": "get", "by": "a\u2028b"}\n', "utf-8")
    assert whole_records(log) == [{"verb": "get", "by": "a\u2028b"}]
