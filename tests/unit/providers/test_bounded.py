from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_providers.bounded import MOST_BYTES, Unpacker, whole
from finetune_providers.errors import UnexpectedResponse


def pieces_of(content: bytes, size: int) -> list[bytes]:
    return [content[start : start + size] for start in range(0, len(content), size)]


@settings(deadline=None)
@given(st.binary(max_size=300_000), st.integers(1, 100_000))
def test_what_was_packed_comes_out_whole_however_it_is_cut(content: bytes, size: int) -> None:
    size = max(size, len(content) // 50)
    assert whole(pieces_of(content, size)) == content
    assert whole(pieces_of(gzip.compress(content), size), "gzip") == content


def test_an_answer_may_hold_64_mib_and_no_more() -> None:
    assert MOST_BYTES == 64 * 2**20
    block = bytes(2**20)
    assert len(whole([block] * 64)) == MOST_BYTES
    with pytest.raises(
        UnexpectedResponse, match="larger than 67,108,864 bytes, the most that is read of one"
    ):
        whole([*[block] * 64, b"x"])


@pytest.mark.parametrize("content", [bytes(100_000), bytes(65_536), bytes(131_072), b"x"])
def test_the_bound_is_met_to_the_byte_after_unpacking(content: bytes) -> None:
    packed = gzip.compress(content)
    most = max(len(content), len(packed))
    assert whole([packed], "gzip", most=most) == content
    if most == len(content):
        with pytest.raises(UnexpectedResponse, match="larger than"):
            whole([packed], "gzip", most=most - 1)


def test_endless_packing_without_content_is_cut_too() -> None:
    packer = zlib.compressobj(wbits=31)
    nothing = packer.flush(zlib.Z_FULL_FLUSH)
    empty_block = packer.flush(zlib.Z_FULL_FLUSH) or b"\x00\x00\x00\xff\xff"
    with pytest.raises(UnexpectedResponse, match="larger than 1,000 bytes"):
        whole([nothing, *[empty_block] * 1000], "gzip", most=1000)


def test_no_piece_is_larger_than_it_has_to_be() -> None:
    assert max(map(len, Unpacker("gzip").feed(gzip.compress(bytes(2**22))))) == 2**16


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip", "x" * 10_000])
def test_packing_that_was_not_asked_for_is_refused(encoding: str) -> None:
    with pytest.raises(UnexpectedResponse, match="gzip was asked for") as caught:
        Unpacker(encoding)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("packed", "told"),
    [(b"{}", "not packed as it says"), (gzip.compress(b"whole")[:-9], "ends before its end")],
    ids=["plain", "cut off"],
)
def test_what_is_not_packed_as_it_says_is_not_understood(packed: bytes, told: str) -> None:
    with pytest.raises(UnexpectedResponse, match=told):
        whole([packed], "gzip")


def test_an_empty_answer_is_empty_whatever_its_head_says() -> None:
    assert whole([], "gzip") == b""
