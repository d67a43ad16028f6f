"""Datasets that lead into a network where only the operator's machine stands."""

from __future__ import annotations

import ipaddress
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from finetune_operator.errors import DatasetUnavailable, InvalidManifest
from finetune_operator.evaluation import (
    IN_A_CLUSTER,
    MAX_DATASET_BYTES,
    InvalidDataset,
    SourceRules,
    addresses,
    fetch,
)
from finetune_operator.evaluation.addresses import is_public
from finetune_operator.resources import DataSource
from finetune_providers.base import DatasetFile

Line = Callable[..., str]
SAYS = "leads to an address that is not public"


class Handler(BaseHTTPRequestHandler):
    """Answers a path with what the server's `pages` hold for it: headers, and a body of 200 or a redirect."""

    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.reached.append(self.connection.getsockname()[0])
        headers, body = self.server.pages.get(self.path, ({}, b""))
        self.send_response(302 if "Location" in headers else 200)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """On all addresses of the loopback interface; remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("0.0.0.0", 0), Handler)
        self.pages: dict[str, tuple[dict[str, str], bytes]] = {}
        self.asked: list[str] = []
        self.reached: list[str] = []
        self.port = self.server_address[1]

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what some tests want."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the resolver of this machine says of some names: each time the next address, the last for ever."""
    known: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        answers = known.get(host)
        if answers is None:
            return real(host, port, *arguments, **options)
        address = answers.pop(0) if len(answers) > 1 else answers[0]
        found = []
        for one in address.split(","):
            family = socket.AF_INET6 if ":" in one else socket.AF_INET
            where = (one, port, 0, 0) if ":" in one else (one, port)
            found.append((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where))
        return found

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


@pytest.fixture
def home_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """127.0.0.1 stands for the internet, so that something public can be reached; 127.0.0.2 stays what it is."""
    monkeypatch.setattr(addresses, "is_public", lambda host: host == "127.0.0.1" or is_public(host))


async def get(
    uri: str, into: Path, rules: SourceRules = IN_A_CLUSTER, *, max_bytes: int = MAX_DATASET_BYTES
) -> DatasetFile:
    async def no_config_map(name: str, key: str) -> str:
        raise LookupError(name, key)

    return await fetch(
        DataSource(uri=uri),
        field="spec.dataset.training",
        into=into,
        config_map=no_config_map,
        max_bytes=max_bytes,
        rules=rules,
    )


PRIVATE = """
10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 127.0.0.1 127.8.8.8 0.0.0.0 169.254.169.254 169.254.170.2 100.64.0.1
100.100.100.200 192.0.0.192 168.63.129.16 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 198.18.0.1 192.0.2.1
:: ::1 fe80::1 fe80::1%eth0 fc00::1 fd00:ec2::254 fec0::1 ff02::1 2001:db8::1 2001:0:7f00:1::1 64:ff9b:1::1
::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:10.0.0.1 ::127.0.0.1 ::ffff:0:127.0.0.1 2002:7f00:1::1
64:ff9b::169.254.169.254 64:ff9b::10.0.0.1 2002:a9fe:a9fe::1 localhost example.com
"""


@pytest.mark.parametrize("host", ["", *PRIVATE.split()])
def test_address_of_a_machine_or_its_network_is_not_public(host: str) -> None:
    assert not is_public(host)


@pytest.mark.parametrize(
    "host",
    ["8.8.8.8", "52.216.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"],
)
def test_address_of_the_internet_is_public(host: str) -> None:
    assert is_public(host)


def test_no_form_of_a_private_ipv4_address_is_public() -> None:
    """All of the private networks' borders, in every IPv6 form that a machine may translate back."""
    networks = ("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12")
    for network in map(ipaddress.IPv4Network, (*networks, "192.168.0.0/16", "224.0.0.0/4", "240.0.0.0/4")):
        for address in (network[0], network[1], network[-2], network[-1]):
            number = int(address)
            forms = [str(address), f"::ffff:{address}", f"64:ff9b::{address}", f"::{address}"]
            forms.append(f"2002:{number >> 16:x}:{number & 0xFFFF:x}::1")
            assert [form for form in forms if is_public(form)] == []


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "inside.example"]
)
async def test_nothing_is_asked_of_an_address_that_is_not_public(
    server: Server, names: dict[str, list[str]], tmp_path: Path, scheme: str, host: str
) -> None:
    names["inside.example"] = ["127.0.0.1"]
    with pytest.raises(InvalidManifest) as caught:
        await get(f"{scheme}://{host}:{server.port}/train.jsonl?key=hunter2", tmp_path)
    (problem,) = caught.value.problems
    assert problem.field == "spec.dataset.training.uri"
    assert problem.message.startswith(f"{scheme}://{host}:{server.port}/train.jsonl {SAYS}")
    assert "--allow-private-datasets" in problem.message
    assert server.asked == []


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f.0.0.1", "017700000001"])
async def test_other_spellings_of_loopback_reach_nothing(server: Server, tmp_path: Path, host: str) -> None:
    with pytest.raises((InvalidManifest, DatasetUnavailable)):
        await get(f"http://{host}:{server.port}/train.jsonl", tmp_path)
    assert server.asked == []


async def test_refusal_does_not_say_what_a_name_resolves_to(
    names: dict[str, list[str]], tmp_path: Path
) -> None:
    names["db.internal"] = ["10.11.12.13"]
    with pytest.raises(InvalidManifest) as caught:
        await get("http://db.internal/x", tmp_path)
    assert "10.11" not in str(caught.value)
    assert "10.11" not in repr(caught.value.__context__)


async def test_open_and_closed_ports_inside_cannot_be_told_apart(server: Server, tmp_path: Path) -> None:
    said = set()
    for port in (server.port, 1):
        with pytest.raises(InvalidManifest) as caught:
            await get(f"http://127.0.0.1:{port}/x", tmp_path)
        said.add(str(caught.value).replace(f":{port}/", ":N/"))
    assert len(said) == 1


@pytest.mark.usefixtures("home_is_public")
async def test_public_address_is_read(server: Server, line: Line, tmp_path: Path) -> None:
    server.pages["/train.jsonl"] = ({}, line().encode())
    assert (await get(f"http://127.0.0.1:{server.port}/train.jsonl", tmp_path)).examples == 1


@pytest.mark.usefixtures("home_is_public")
@pytest.mark.parametrize("target", ["http://127.0.0.2:{port}/secret", "//127.0.0.2:{port}/secret", "/hop"])
async def test_every_hop_of_a_redirect_is_checked(
    server: Server, line: Line, tmp_path: Path, target: str
) -> None:
    server.pages["/train.jsonl"] = ({"Location": target.format(port=server.port)}, b"")
    server.pages["/hop"] = ({"Location": f"http://127.0.0.2:{server.port}/secret"}, b"")
    server.pages["/secret"] = ({}, line().encode())
    with pytest.raises(InvalidManifest, match=SAYS):
        await get(f"http://127.0.0.1:{server.port}/train.jsonl", tmp_path)
    assert "/secret" not in server.asked


@pytest.mark.usefixtures("home_is_public")
@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x"])
async def test_redirect_to_another_scheme_is_not_followed(
    server: Server, tmp_path: Path, target: str
) -> None:
    server.pages["/train.jsonl"] = ({"Location": target}, b"")
    with pytest.raises((InvalidManifest, DatasetUnavailable)):
        await get(f"http://127.0.0.1:{server.port}/train.jsonl", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("home_is_public")
async def test_name_that_resolves_otherwise_the_next_time_gains_nothing(
    server: Server, names: dict[str, list[str]], line: Line, tmp_path: Path
) -> None:
    """DNS rebinding: the check sees one address and the connection another. Here what is checked is connected to."""
    names["rebind.example"] = ["127.0.0.1", "127.0.0.2"]
    server.pages["/train.jsonl"] = ({}, line().encode())
    await get(f"http://rebind.example:{server.port}/train.jsonl", tmp_path)
    for _ in range(2):
        with pytest.raises(InvalidManifest, match=SAYS):
            await get(f"http://rebind.example:{server.port}/train.jsonl", tmp_path)
    assert names["rebind.example"] == ["127.0.0.2"]
    assert server.reached == ["127.0.0.1"]


@pytest.mark.usefixtures("home_is_public")
async def test_of_a_name_s_addresses_only_the_public_ones_are_tried(
    server: Server, names: dict[str, list[str]], line: Line, tmp_path: Path
) -> None:
    names["both.example"] = ["127.0.0.2,127.0.0.1"]
    names["inside.example"] = ["127.0.0.2,::1,127.0.0.3"]
    server.pages["/train.jsonl"] = ({}, line().encode())
    assert (await get(f"http://both.example:{server.port}/train.jsonl", tmp_path)).examples == 1
    with pytest.raises(InvalidManifest, match=SAYS):
        await get(f"http://inside.example:{server.port}/train.jsonl", tmp_path)
    assert len(server.asked) == 1


async def test_proxy_of_the_environment_does_not_connect_in_our_place(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(variable, f"http://127.0.0.1:{server.port}")
    with pytest.raises(InvalidManifest, match=SAYS):
        await get("http://169.254.169.254/latest/meta-data", tmp_path)
    assert server.asked == []


async def test_administrator_may_allow_private_addresses(server: Server, line: Line, tmp_path: Path) -> None:
    server.pages["/train.jsonl"] = ({}, line().encode())
    rules = SourceRules(IN_A_CLUSTER.schemes, private_addresses=True)
    assert (await get(f"http://127.0.0.1:{server.port}/train.jsonl", tmp_path, rules)).examples == 1


async def test_files_of_the_operator_s_machine_are_refused_in_a_cluster(tmp_path: Path) -> None:
    for uri in ("file:///etc/passwd", "file:///var/run/secrets/kubernetes.io/serviceaccount/token"):
        with pytest.raises(InvalidManifest, match=r"scheme file:// cannot be used here"):
            await get(uri, tmp_path)


@pytest.mark.usefixtures("home_is_public")
@pytest.mark.parametrize("byte", [b"\n", b"x", b"["])
async def test_body_that_unpacks_to_gigabytes_is_refused_at_the_bound(
    server: Server, tmp_path: Path, byte: bytes
) -> None:
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join(packer.compress(byte * 2**20) for _ in range(256)) + packer.flush()
    assert len(bomb) < 2**20
    server.pages["/train.jsonl"] = ({"Content-Encoding": "gzip"}, bomb)
    with pytest.raises(InvalidDataset):
        await get(f"http://127.0.0.1:{server.port}/train.jsonl", tmp_path, max_bytes=2**24)
    assert list(tmp_path.iterdir()) == []
