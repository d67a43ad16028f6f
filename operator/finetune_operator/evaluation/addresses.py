"""Which addresses a dataset may be read from, and connections that go to no others.

Whoever may write a sweep chooses a URI, and the operator's machine opens it: the machine's cloud metadata, its
neighbours and its own loopback interface must not be what answers. An address is checked at the moment at which a
socket is made for it, so what a name resolved to a moment ago, or where a server redirects to, makes no difference.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable
from typing import Any

import aiohttp

AddressInfo = tuple[Any, ...]
"""What `socket.getaddrinfo` gives: family, type, protocol, canonical name, and the address with its port."""

_UNICAST = ipaddress.IPv6Network("2000::/3")
_IPV4_BEHIND_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# The agents of Azure's machines and Oracle's metadata service answer here; Python takes the first for public, and
# some of its versions the second.
_PLATFORM = (ipaddress.IPv4Network("168.63.129.16/32"), ipaddress.IPv4Network("192.0.0.0/24"))


class ForbiddenAddress(OSError):
    """A connection to an address that is not public was asked for; none was made."""

    def __init__(self) -> None:
        # Without the address: what a name resolves to inside a cluster is not for everybody to know.
        super().__init__(errno.EACCES, "the address is not public")


class PublicConnections:
    """Makes sockets for public addresses alone.

    Attributes:
        refused: Whether one was asked for that is not.
    """

    def __init__(self) -> None:
        """Nothing was refused yet."""
        self.refused = False

    def socket(self, address: AddressInfo) -> socket.socket:
        """A socket for an address, not yet connected.

        Raises:
            ForbiddenAddress: It is not a public one.
        """
        family, kind, protocol, _, (host, *_) = address
        if not is_public(host):
            self.refused = True
            raise ForbiddenAddress
        return socket.socket(family=family, type=kind, proto=protocol)

    def client(self) -> Callable[..., Any]:
        """A coroutine function that makes an aiohttp session, as fsspec wants it."""

        async def get_client(**options: Any) -> aiohttp.ClientSession:
            connector = aiohttp.TCPConnector(socket_factory=self.socket)
            # A proxy of the environment would connect for us, where nothing is checked.
            return aiohttp.ClientSession(connector=connector, **{**options, "trust_env": False})

        return get_client


def is_public(host: str) -> bool:
    """Whether an address belongs to the public internet, as opposed to a machine, its network or its platform.

    Args:
        host: An IPv4 or IPv6 address. IPv4 addresses inside IPv6 ones (mapped, 6to4, NAT64) count as themselves.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = _ipv4_within(address)
        if inner is None:
            return address in _UNICAST and address.is_global
        address = inner
    if address.is_multicast or any(address in network for network in _PLATFORM):
        return False
    return address.is_global


def _ipv4_within(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in _IPV4_BEHIND_NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
