"""At most so many bytes of an answer are read, whatever it says of its own length and however it is packed.

HTTP clients unpack what a server has packed, and keep all of it: a million bytes can become a thousand million. So
each client is told here to leave the unpacking to `Unpacker`, which counts as it goes and stops at the bound.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import Any

from finetune_providers.errors import UnexpectedResponse

MOST_BYTES = 64 * 2**20
"""Of an answer, unpacked."""

MOST_FILE_BYTES = 16 * 2**20
"""Of a file that a provider writes of a job, such as its metrics: half a million steps."""

ASKED_ENCODING = "gzip"
"""What a request's Accept-Encoding says: the only packing that `Unpacker` undoes."""

_PIECE = 2**16


class Unpacker:
    """Takes an answer piece by piece and gives it back unpacked, in pieces of bounded size."""

    def __init__(self, encoding: str = "", *, most: int | None = None) -> None:
        """Begin an answer.

        Args:
            encoding: Its Content-Encoding; "" where it has none.
            most: Bytes that it may hold, packed and unpacked; None for MOST_BYTES.

        Raises:
            UnexpectedResponse: It is packed as nobody asked for.
        """
        self._most = MOST_BYTES if most is None else most
        self._packed_size = self._size = 0
        self._inflate: Any = None
        word = encoding.strip().lower()
        if word in {"gzip", "x-gzip"}:
            self._inflate = zlib.decompressobj(wbits=31)
        elif word not in {"", "identity"}:
            raise UnexpectedResponse(
                f"the answer is packed as {word[:40]!r}, but {ASKED_ENCODING} was asked for"
            )

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """What a piece holds.

        Raises:
            UnexpectedResponse: The answer is larger than it may be, or is not packed as it says.
        """
        self._packed_size += len(piece)
        self._check(self._packed_size)
        for part in (piece,) if self._inflate is None else self._inflated(piece):
            self._size += len(part)
            self._check(self._size)
            yield part

    def end(self) -> None:
        """Say that nothing more comes.

        Raises:
            UnexpectedResponse: The answer was packed, and is not whole.
        """
        if self._inflate is not None and self._packed_size and not self._inflate.eof:
            raise UnexpectedResponse("the packed answer ends before its end")

    def _inflated(self, piece: bytes) -> Iterator[bytes]:
        part, rest = bytes(_PIECE), piece
        try:
            # A full part may leave more in the decompressor than in the rest of its input.
            while (rest or len(part) == _PIECE) and not self._inflate.eof:
                part = self._inflate.decompress(rest, _PIECE)
                rest = self._inflate.unconsumed_tail
                yield part
        except zlib.error:
            raise UnexpectedResponse("the answer is not packed as it says") from None

    def _check(self, size: int) -> None:
        if size > self._most:
            raise UnexpectedResponse(
                f"the answer is larger than {self._most:,} bytes, the most that is read of one"
            )


def whole(pieces: Iterable[bytes], encoding: str = "", *, most: int | None = None) -> bytes:
    """All of an answer that comes in pieces. Blocking.

    Raises:
        UnexpectedResponse: As `Unpacker` says.
    """
    unpacker = Unpacker(encoding, most=most)
    content = b"".join(part for piece in pieces for part in unpacker.feed(piece))
    unpacker.end()
    return content


async def whole_of_aiohttp(answer: Any) -> bytes:
    """All of the answer to a request of aiohttp that was made with `auto_decompress=False`.

    Raises:
        UnexpectedResponse: As `Unpacker` says.
    """
    unpacker = Unpacker(answer.headers.get("Content-Encoding", ""))
    parts: list[bytes] = []
    async for piece in answer.content.iter_any():
        parts += unpacker.feed(piece)
    unpacker.end()
    return b"".join(parts)


def httpx_hook(stream_class: Any) -> Callable[[Any], Awaitable[None]]:
    """What an asynchronous client of httpx is to do with each answer: an event hook, called before it is read.

    Args:
        stream_class: `AsyncByteStream` of the package that the client is of: httpx and httpx2 each want their own.
    """

    class BoundedStream(stream_class):  # type: ignore[misc]  # it is known where the client is made
        def __init__(self, inner: Any, unpacker: Unpacker) -> None:
            self._inner, self._unpacker = inner, unpacker

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async with aclosing(aiter(self._inner)) as pieces:
                async for piece in pieces:
                    for part in self._unpacker.feed(piece):
                        yield part
            self._unpacker.end()

        async def aclose(self) -> None:
            await self._inner.aclose()

    async def bound(response: Any) -> None:
        unpacker = Unpacker(response.headers.pop("content-encoding", ""))
        response.stream = BoundedStream(response.stream, unpacker)

    return bound
