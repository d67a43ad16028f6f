"""Ports of the tests' servers."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from controlplane.ports import ReservedPort


@pytest.fixture
def port() -> Iterator[ReservedPort]:
    port = ReservedPort()
    yield port
    port.release()


def test_a_reserved_port_is_drawn_by_nobody_else(port: ReservedPort) -> None:
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port.number))


def test_nobody_answers_at_a_reserved_port_before_its_server_is_started(port: ReservedPort) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port.number))


async def test_a_server_can_be_started_on_a_reserved_port_again_and_again(port: ReservedPort) -> None:
    for _ in range(2):
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port.number)
        _, writer = await asyncio.open_connection("127.0.0.1", port.number)
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
