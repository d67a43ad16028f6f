"""The faults of the fakes' server do what they say, seen by a client that hides nothing."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from tests.contract.patience import PATIENCE_S
from tests.fakes import http_server
from tests.fakes.http_server import (
    DONE_THEN_DROPPED,
    DROPPED,
    MALFORMED,
    Answer,
    FakeServer,
    Fault,
    Refusal,
    Request,
    Route,
    done_then,
    refused,
)


class Shop(FakeServer):
    """Sells things, and can be asked for them."""

    def __init__(self) -> None:
        super().__init__()
        self.sold: list[str] = []

    def routes(self) -> Sequence[Route]:
        return (
            Route("buy", "POST", "/things/(?P<name>[^/]+)", self._buy),
            Route("look", "GET", "/things", self._look),
            Route("head", "HEAD", "/things", self._look),
            Route("forget", "DELETE", "/things", self._forget),
            Route("echo", "PUT", "/echo", lambda request: Answer(request.body, headers={"X-Mine": "yes"})),
            Route("fail", "GET", "/fail", self._fail),
        )

    def authorize(self, request: Request) -> None:
        if request.headers.get("X-Key", "right") != "right":
            raise Refusal(401, "wrong key", code="bad_key")

    def error(self, status: int, message: str, *, code: str = "") -> Answer:
        return Answer({"error": message, "code": code}, status)

    def _buy(self, request: Request) -> Answer:
        self.sold.append(request.parts["name"])
        return Answer({"bought": request.parts["name"]}, 201)

    def _look(self, request: Request) -> Answer:
        return Answer(
            {"things": self.sold, "query": {name: list(values) for name, values in request.query.items()}}
        )

    def _forget(self, _: Request) -> Answer:
        self.sold.clear()
        return Answer(status=204)

    def _fail(self, _: Request) -> Answer:
        raise KeyError("a defect of the fake")


@pytest.fixture
def shop() -> Iterator[Shop]:
    with Shop() as shop:
        yield shop


@pytest.fixture
def line(shop: Shop) -> Iterator[http.client.HTTPConnection]:
    """One connection, which is kept over requests."""
    address = urlsplit(shop.url)
    with closing(http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)) as line:
        yield line


def ask(
    line: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers in lower case, and body."""
    line.request(method, path, body, headers)
    answer = line.getresponse()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


# -- without faults -------------------------------------------------------------------------------------------


def test_requests_are_carried_out_over_one_connection(shop: Shop, line: http.client.HTTPConnection) -> None:
    assert ask(line, "POST", "/things/a%20lamp")[0] == 201
    socket = line.sock
    status, headers, body = ask(line, "GET", "/things?a=1&a=2&b=")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body) == {"things": ["a lamp"], "query": {"a": ["1", "2"], "b": [""]}}
    assert line.sock is socket
    assert [request.operation for request in shop.requests] == ["buy", "look"]
    assert shop.requests[1].one("a") == "1"
    assert shop.requests[1].one("c", "none") == "none"


def test_an_answer_without_a_body_has_none(line: http.client.HTTPConnection) -> None:
    assert ask(line, "DELETE", "/things")[::2] == (204, b"")
    status, headers, body = ask(line, "HEAD", "/things")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0
    assert ask(line, "GET", "/things")[0] == 200  # the connection is still in step


def test_a_body_arrives_whole_in_pieces_or_not(line: http.client.HTTPConnection) -> None:
    assert ask(line, "PUT", "/echo", b"whole")[2] == b"whole"
    line.request("PUT", "/echo", iter([b"in ", b"pie", b"ces"]), encode_chunked=True)
    answer = line.getresponse()
    assert answer.headers["X-Mine"] == "yes"
    assert answer.read() == b"in pieces"
    assert ask(line, "PUT", "/echo", b"announced", Expect="100-continue")[2] == b"announced"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nothing"), ("PATCH", "/things"), ("GET", "/things/a/b")]
)
def test_what_is_not_there_is_refused_in_the_company_s_words(
    shop: Shop, line: http.client.HTTPConnection, method: str, path: str
) -> None:
    status, _, body = ask(line, method, path)
    assert (status, json.loads(body)["error"]) == (404, f"there is no {method} {path}")
    assert shop.count("unknown") == 1


def test_a_refusal_has_no_effect(shop: Shop, line: http.client.HTTPConnection) -> None:
    status, _, body = ask(line, "POST", "/things/lamp", **{"X-Key": "wrong"})
    assert (status, json.loads(body)) == (401, {"error": "wrong key", "code": "bad_key"})
    assert not shop.sold


def test_bodies_are_those_of_the_operation(shop: Shop, line: http.client.HTTPConnection) -> None:
    ask(line, "POST", "/things/lamp", b'{"n": 1}')
    ask(line, "PUT", "/echo", b'{"n": 2}')
    assert shop.bodies("buy") == [{"n": 1}]


# -- faults ---------------------------------------------------------------------------------------------------


def test_a_refused_request_is_not_carried_out(shop: Shop, line: http.client.HTTPConnection) -> None:
    shop.fault("buy", refused(429, code="slow_down", retry_after="7"))
    status, headers, body = ask(line, "POST", "/things/lamp")
    assert (status, headers["retry-after"], json.loads(body)["code"]) == (429, "7", "slow_down")
    assert not shop.sold
    assert shop.count("buy") == 1


def test_a_request_can_be_carried_out_and_answered_with_an_error(
    shop: Shop, line: http.client.HTTPConnection
) -> None:
    shop.fault("buy", done_then(503))
    assert ask(line, "POST", "/things/lamp")[0] == 503
    assert shop.sold == ["lamp"]


@pytest.mark.parametrize(
    ("fault", "sold"), [(DROPPED, []), (DONE_THEN_DROPPED, ["lamp"])], ids=["before", "after"]
)
def test_a_connection_breaks_without_an_answer(
    shop: Shop, line: http.client.HTTPConnection, fault: Fault, sold: list[str]
) -> None:
    shop.fault("buy", fault)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        ask(line, "POST", "/things/lamp")
    assert shop.sold == sold
    line.close()
    assert ask(line, "POST", "/things/shade")[0] == 201
    assert shop.sold == [*sold, "shade"]


def test_a_malformed_answer_is_one_of_200(shop: Shop, line: http.client.HTTPConnection) -> None:
    shop.fault("buy", MALFORMED)
    status, _, body = ask(line, "POST", "/things/lamp")
    assert status == 200
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(body)
    assert shop.sold == ["lamp"]


def test_a_body_of_one_s_own_replaces_the_right_one(shop: Shop, line: http.client.HTTPConnection) -> None:
    shop.fault("look", Fault(body=b"\xff"))
    assert ask(line, "GET", "/things")[::2] == (200, b"\xff")


def test_what_the_company_refuses_stays_refused_whatever_else_goes_wrong(
    shop: Shop, line: http.client.HTTPConnection
) -> None:
    shop.fault("buy", done_then(503))
    assert ask(line, "POST", "/things/lamp", **{"X-Key": "wrong"})[0] == 401


def test_faults_come_in_turn_and_then_what_always_goes_wrong(
    shop: Shop, line: http.client.HTTPConnection
) -> None:
    shop.always("*", refused(500))
    shop.always("look", refused(503))
    shop.fault("look", refused(429), refused(408))
    assert [ask(line, "GET", "/things")[0] for _ in range(4)] == [429, 408, 503, 503]
    assert ask(line, "POST", "/things/lamp")[0] == 500
    shop.always("look", None)
    assert ask(line, "GET", "/things")[0] == 500
    shop.always("*", None)
    assert ask(line, "GET", "/things")[0] == 200
    shop.always("never-set", None)


def test_a_slow_answer_keeps_no_other_request_waiting(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.always("look", Fault(takes_effect=True, status=500, delay_s=0.3))
    address = urlsplit(shop.url)
    # Each delay lasts until all six have begun, which they do not where one request waits for another.
    delays = threading.Barrier(6)
    asked: list[float] = []

    def delay(seconds: float) -> None:
        delays.wait(PATIENCE_S)
        asked.append(seconds)

    monkeypatch.setattr(http_server, "time", SimpleNamespace(sleep=delay, monotonic=time.monotonic))

    def look() -> None:
        with closing(
            http.client.HTTPConnection(address.hostname or "", address.port, timeout=PATIENCE_S)
        ) as line:
            assert ask(line, "GET", "/things")[0] == 500

    threads = [threading.Thread(target=look) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == [0.3] * 6


# -- the server itself ----------------------------------------------------------------------------------------


def test_a_defect_of_the_fake_fails_the_test_that_met_it() -> None:
    shop = Shop().__enter__()
    address = urlsplit(shop.url)
    with closing(http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)) as line:
        assert ask(line, "GET", "/fail")[0] == 500
    with pytest.raises(AssertionError, match="a defect of the fake"):
        shop.__exit__(None, None, None)


def test_a_defect_of_the_fake_does_not_hide_what_the_test_itself_found() -> None:
    shop = Shop().__enter__()
    shop.crashes.append("something")
    shop.__exit__(ZeroDivisionError, None, None)


def test_the_clock_stands_still_until_it_is_moved() -> None:
    shop = Shop()
    began = shop.clock.now()
    assert shop.clock.now() == began
    shop.clock.advance(90)
    assert (shop.clock.now() - began).total_seconds() == shop.clock.elapsed() == 90


def test_a_server_that_does_not_run_has_no_address() -> None:
    with pytest.raises(AssertionError, match="not running"):
        _ = Shop().url


def test_a_request_whose_client_dies_in_the_middle_was_never_made(shop: Shop) -> None:
    address = urlsplit(shop.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=10) as half:
        half.sendall(b"POST /things/lamp HTTP/1.1\r\nHost: here\r\nContent-Length: 100\r\n\r\n{")
        half.shutdown(socket.SHUT_WR)
        assert half.recv(100) == b""
    assert shop.sold == []
    assert shop.requests == []
