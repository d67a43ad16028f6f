"""One browser and its pages, over the Chrome DevTools Protocol."""

import asyncio
import base64
import itertools
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from tests.browser.chromium import Chromium

_FLAGS = (
    "--headless=shell",
    "--no-sandbox",
    "--no-zygote",
    "--single-process",
    "--in-process-gpu",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
)
LONGEST_WAIT_S = 120


class PageBrokenError(Exception):
    """The page, or the browser, does not do what it was told."""


@dataclass
class Page:
    """A page that is open, with all that it did.

    Attributes:
        errors: Exceptions and messages of the console, violations of its policy among them.
        requests: Addresses that it asked for, its own file apart.
    """

    socket: aiohttp.ClientWebSocketResponse
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; what happens meanwhile is noted."""
        number = next(self._ids)
        await self.socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = await asyncio.wait_for(self.socket.receive_json(), LONGEST_WAIT_S)
            if message.get("id") == number:
                if "error" in message:
                    raise PageBrokenError(f"{method}: {message['error']['message']}")
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    async def value(self, expression: str) -> Any:
        """The value of a JavaScript expression; of a promise, what it leads to."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise PageBrokenError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    async def until(self, expression: str) -> Any:
        """The value of an expression once it is true, as JavaScript sees it: what a page does comes a moment later.

        Raises:
            PageBrokenError: It does not become so.
        """
        until = time.monotonic() + LONGEST_WAIT_S
        while not (value := await self.value(expression)):
            if time.monotonic() > until:
                raise PageBrokenError(f"{value!r} for {LONGEST_WAIT_S} s: {expression}")
            await asyncio.sleep(0.02)
        return value

    async def open(self, file: Path) -> None:
        """Open a file and wait until it says that all plots are drawn."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=file.as_uri())
        await self.until("document.body?.dataset.drawn")

    async def looks(self, *, scheme: str = "light", media: str = "") -> None:
        """Have it drawn for light or dark, for a screen or for print."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self.call("Emulation.setEmulatedMedia", media=media, features=features)

    async def screenshot(self, file: Path, *, width: int = 1280, height: int | None = None) -> None:
        """Write a PNG of the whole page, or of its top."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        await asyncio.sleep(0.3)  # plots take the new width
        whole = height or await self.value("document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": width, "height": min(whole, 16000), "scale": 1}
        answer = await self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(answer["data"]))

    async def pdf(self) -> bytes:
        """What comes out of a printer."""
        answer = await self.call("Page.printToPDF", printBackground=True)
        return base64.b64decode(answer["data"])

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                details = params["exceptionDetails"]
                self.errors.append(details.get("exception", {}).get("description") or details["text"])
            case "Runtime.consoleAPICalled" if params["type"] in {"error", "warning", "assert"}:
                self.errors.append(" ".join(str(each.get("value", each)) for each in params["args"]))
            case "Log.entryAdded":
                self.errors.append(params["entry"]["text"])
            case "Network.requestWillBeSent" if not params["request"]["url"].startswith("file:"):
                self.requests.append(params["request"]["url"])
            case _:
                pass


@asynccontextmanager
async def browser_page(chromium: Chromium) -> AsyncIterator[Page]:
    """A browser with one empty page; ended in any case."""
    with tempfile.TemporaryDirectory(prefix="chromium-") as profile:
        process = _start(chromium, profile)
        try:
            port = await _port(process, Path(profile) / "DevToolsActivePort")
            async with aiohttp.ClientSession() as client:
                async with client.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    (target, *_) = [each for each in await answer.json() if each["type"] == "page"]
                address = target["webSocketDebuggerUrl"]
                async with client.ws_connect(address, max_msg_size=0) as socket:
                    yield Page(socket)
        finally:
            process.kill()
            process.wait()


def _start(chromium: Chromium, profile: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [str(chromium.command), *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
        env=_environment(chromium, profile),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _environment(chromium: Chromium, profile: str) -> dict[str, str]:
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": profile}
    if chromium.folder is not None:
        environment["LD_LIBRARY_PATH"] = f"{chromium.folder / 'lib'}:{chromium.folder}"
        fonts = Path(profile) / "fonts.conf"
        folders = (chromium.folder / "fonts", "/usr/share/fonts")
        listed = "".join(f"<dir>{folder}</dir>" for folder in folders)
        fonts.write_text(f"<fontconfig>{listed}<cachedir>{profile}/fonts</cachedir></fontconfig>")
        environment["FONTCONFIG_FILE"] = str(fonts)
    return environment


async def _port(process: "subprocess.Popen[bytes]", file: Path) -> int:
    for _ in range(LONGEST_WAIT_S * 20):
        if process.poll() is not None:
            raise PageBrokenError(f"Chromium ended with {process.returncode}")
        if file.exists() and (lines := file.read_text().splitlines()):
            return int(lines[0])
        await asyncio.sleep(0.05)
    raise PageBrokenError("Chromium opened no debugging port")
