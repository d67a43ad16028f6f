"""Ports that are free until a process is started on them."""

import secrets
import socket

# Below the range from which Linux and macOS take the local ports of outgoing connections, and of servers that leave
# the choice to the kernel.
_FIRST_PORT, _LAST_PORT = 20_000, 32_000


class ReservedPort:
    """A loopback port that nobody else draws, while a server that reuses addresses can listen on it.

    Between the choice of a port and the start of its server lie seconds in which other tests' servers start. A socket
    that is bound and does not listen keeps theirs off: whoever draws binds without `SO_REUSEADDR`, which fails, and
    the server itself binds with it, as those of Go and asyncio do.

    Attributes:
        number: The port.
    """

    def __init__(self) -> None:
        """Draws a port that nobody is bound to."""
        chooser = secrets.SystemRandom()
        while True:
            self.number = chooser.randint(_FIRST_PORT, _LAST_PORT)
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            try:
                self._socket.bind(("127.0.0.1", self.number))
            except OSError:
                self._socket.close()
                continue
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            return

    def release(self) -> None:
        """Leave the port to others."""
        self._socket.close()
