"""What of a failure reaches people: no secret, and how long a provider asks to wait."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_providers.calls import Calls, retry_after_s
from finetune_providers.errors import (
    PermanentProviderError,
    ProviderError,
)
from finetune_providers.redaction import clean


def failing(error: BaseException) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        raise error

    return call


class Broken(Exception):
    """What an SDK raises; it knows what it means."""

    def __init__(self, meaning: ProviderError | None) -> None:
        super().__init__("headers: Authorization: Bearer top-secret")
        self.meaning = meaning


def explain(error: Exception) -> ProviderError | None:
    return error.meaning if isinstance(error, Broken) else None


# -- secrets --------------------------------------------------------------------------------------------------

SECRETS = st.text(min_size=4, max_size=12).filter(lambda text: len(text.strip()) >= 4)


def left_of(message: str) -> str:
    """A cleaned message without what stands for secrets."""
    return message.replace("[hidden]", "")


@given(st.lists(SECRETS, min_size=1, max_size=4), st.data())
def test_no_secret_is_left_wherever_it_stands(secrets: list[str], data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.sampled_from([*secrets, "\u00b7", " \u00b7\u00b7 "]), max_size=8))
    cleaned = clean("".join(parts), secrets)
    for secret in secrets:
        assert secret.strip() not in cleaned.replace("[hidden]", "\u00b7") or secret.strip() in "[hidden]"


@pytest.mark.parametrize(
    ("message", "secrets", "cleaned"),
    [
        ("key abcdefghijkl!", ["abcdefgh", "efghijkl"], "key [hidden]!"),
        ("key abcdefgh", ["abcd", "abcdefgh"], "key [hidden]"),
        ("abcabcabc", ["abcabc"], "[hidden]"),
        ("one abcd two abcd", ["abcd"], "one [hidden] two [hidden]"),
        ("abc", ["abc"], "abc"),
        ("key abcd", [" abcd\n"], "key [hidden]"),
        ("nothing", [""], "nothing"),
        ("two\n  lines", [], "two lines"),
    ],
)
def test_all_that_belongs_to_a_secret_is_hidden(message: str, secrets: list[str], cleaned: str) -> None:
    assert clean(message, secrets) == cleaned


KEY = "sk-proj-9a8B7c6D5e4F3g2H1i0J+k/L=mN"
KEY_FILE = json.dumps(
    {
        "private_key": "-----BEGIN KEY-----\n" + "MIIEvQ1/BADANBgk+" * 4 + "\n-----END KEY-----\n",
        "project_id": "acme-2026-support-intents",
        "client_email": "sweeps@acme-2026.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    }
)


@pytest.mark.parametrize("secret", [KEY, "MIIEvQ1/BADANBgk+" * 4])
@pytest.mark.parametrize("written", [str, lambda text: quote(text, safe=""), lambda text: b64(text, 0)])
def test_a_long_secret_is_hidden_in_part_too(secret: str, written: Callable[[str], str]) -> None:
    middle = len(secret) // 2
    for part in (secret, secret[:middle], secret[middle:], secret[5:-5]):
        assert clean(f"key {written(part)}... is wrong", [KEY, KEY_FILE]).replace("[hidden]", "") in {
            "key ... is wrong",
            "key =... is wrong",
            "key ==... is wrong",
            *(f"key {edge}... is wrong" for edge in edges(written(part))),
        }


def edges(text: str) -> set[str]:
    """What may be left of a part that was encoded by itself: its last characters hold less than a byte each."""
    return {text[-count:] for count in range(1, 5)}


def b64(text: str, offset: int) -> str:
    return base64.b64encode(b"x" * offset + text.encode()).decode()


@pytest.mark.parametrize("offset", range(3))
def test_base64_of_a_secret_is_hidden_wherever_it_begins(offset: int) -> None:
    left = clean(f"said {b64(KEY + 'tail', offset)}", [KEY]).removeprefix("said ")
    assert "[hidden]" in left
    assert len(left.replace("[hidden]", "")) < 12


def test_addresses_and_names_of_a_key_file_stand_in_messages() -> None:
    said = (
        "aiplatform.googleapis.com/token, sweeps@acme-2026.iam.gserviceaccount.com, acme-2026-support-intents"
    )
    assert clean(said, [KEY_FILE]) == said


def test_a_message_of_megabytes_is_cut_before_it_is_searched() -> None:
    began = time.process_time()
    assert len(clean("x" * 10**8, [KEY, KEY_FILE])) <= 600
    assert time.process_time() - began < 5


@pytest.mark.parametrize("written", [json.dumps, repr, lambda text: quote(text, safe="")])
def test_a_secret_is_found_in_other_spellings(written: Callable[[str], str]) -> None:
    secret = 'line one/of "it"\nline two = é'
    cleaned = clean(f"said {written(secret)}", [secret])
    assert "one" not in cleaned
    assert "two" not in cleaned


def test_a_line_of_a_private_key_is_hidden() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB\n-----END KEY-----\n"
    assert "MIIE" not in clean("bad PEM at MIIEvQIBADANBgkqhkiG9w0B", [key])


def test_a_message_has_a_bounded_length_and_its_secrets_are_not_cut_in_two() -> None:
    cleaned = clean("x" * 590 + "0123456789abcdef" * 3, ["0123456789abcdef" * 3])
    assert "0123" not in cleaned
    assert len(clean("y" * 10_000, [])) == 600


@pytest.mark.parametrize("method", ["read", "create"])
@pytest.mark.parametrize("raised_by", ["sdk", "us"])
async def test_no_failure_of_a_call_tells_a_secret(method: str, raised_by: str) -> None:
    calls = Calls(explain, secrets=["sk-1234567890", ""])
    meaning = PermanentProviderError("wrong key sk-1234567890", field="x")
    with pytest.raises(PermanentProviderError) as caught:
        await getattr(calls, method)(failing(Broken(meaning) if raised_by == "sdk" else meaning))
    assert str(caught.value) == "wrong key [hidden]"
    assert caught.value.field == "x"
    calls.close()


# -- Retry-After ----------------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("17", 17.0),
        ("0.25", 0.25),
        (" 3 ", 3.0),
        ("-5", 0.0),
        ("Mon, 23 Nov 2026 12:01:00 GMT", 60.0),
        ("Mon, 23 Nov 2026 12:01:00 -0000", 60.0),
        ("Mon, 23 Nov 2026 13:01:00 +0100", 60.0),
        ("Monday, 23-Nov-26 12:01:00 GMT", 60.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("Mon, 99 Nov 2026 12:01:00 GMT", None),
        ("Mon, 23 Nov 99999999999 12:01:00 GMT", None),
    ],
)
def test_a_wish_to_wait_is_read(
    value: str | None, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert retry_after_s(value, now=NOW.timestamp) == seconds
    finally:
        monkeypatch.undo()
        time.tzset()


@given(st.text())
def test_whatever_stands_there_no_wish_is_refused_or_endless(value: str) -> None:
    seconds = retry_after_s(value, now=NOW.timestamp)
    assert seconds is None or 0 <= seconds < float("inf")


@given(st.integers(946_684_800, 4_102_444_800))
def test_a_date_is_read_as_it_is_written(seconds_since_1970: int) -> None:
    moment = datetime.fromtimestamp(seconds_since_1970, UTC)
    seconds = retry_after_s(format_datetime(moment, usegmt=True), now=NOW.timestamp)
    assert seconds == max(0.0, (moment - NOW).total_seconds())
