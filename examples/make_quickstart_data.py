"""Writes the quickstart's data: which module of Python's standard library is a docstring from?

The texts are docstrings of the Python that runs this script (PSF licence), so nothing is downloaded, and the same
Python version writes the same files. Four modules are to be told apart; their names are masked in the texts. Only
texts that occur once are taken, and no text is in two files.

    python examples/make_quickstart_data.py        writes the ConfigMap at the end of examples/quickstart.yaml
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import random
import re
import types
from collections.abc import Iterator
from pathlib import Path

MODULES = ("tkinter", "asyncio", "email", "xml")
EXAMPLES_PER_MODULE = {"train": 40, "valid": 15, "eval": 20}
INSTRUCTION = "Which module: tkinter, asyncio, email or xml?"
WORDS = range(6, 19)
MASK = "_"
MARKER = "\ndata:\n"
# Words that would give the answer away without any reading.
GIVEAWAYS = re.compile(r"\w*(?:tkinter|asyncio|e-?mail|xml)\w*|\b(?:tk|tcl|sax|dom)\b", re.IGNORECASE)
# Importing these opens windows or prints.
SKIPPED = re.compile(r"idle|test|turtledemo|__main__")


def main() -> None:
    """Collect, shuffle with a fixed seed, and put the three files at the end of the quickstart."""
    texts = {module: sorted(set(_docstrings(module))) for module in MODULES}
    everything = [text for module in MODULES for text in texts[module]]
    rows: dict[str, list[str]] = {name: [] for name in EXAMPLES_PER_MODULE}
    for module in MODULES:
        own = [text for text in texts[module] if everything.count(text) == 1]
        random.Random(f"quickstart {module}").shuffle(own)  # noqa: S311 - a choice of examples, no secret
        for name, count in EXAMPLES_PER_MODULE.items():
            chosen, own = own[:count], own[count:]
            if len(chosen) < count:
                raise SystemExit(f"this Python's {module} has too few docstrings for {name}")
            rows[name] += [_line(text, module) for text in chosen]
    data = ""
    for name, lines in rows.items():
        random.Random(f"quickstart {name}").shuffle(lines)  # noqa: S311
        data += f"  {name}.jsonl: |\n" + "".join(f"    {line}\n" for line in lines)
    quickstart = Path(__file__).with_name("quickstart.yaml")
    head, marker, _ = quickstart.read_text(encoding="utf-8").partition(MARKER)
    if not marker:
        raise SystemExit(f"{quickstart} has no line {MARKER!r}, behind which the data goes")
    quickstart.write_text(head + marker + data, encoding="utf-8")


def _line(text: str, module: str) -> str:
    messages = [
        {"role": "system", "content": INSTRUCTION},
        {"role": "user", "content": text},
        {"role": "assistant", "content": module},
    ]
    return json.dumps({"messages": messages}, ensure_ascii=False)


def _docstrings(package: str) -> Iterator[str]:
    """First paragraphs of the docstrings of a package's classes, functions and methods, masked."""
    for module in _modules(package):
        for _, item in sorted(vars(module).items()):
            if not str(getattr(item, "__module__", "")).startswith(package):
                continue
            members = sorted(vars(item).items()) if inspect.isclass(item) else []
            for candidate in (item, *(member for _, member in members)):
                text = _first_paragraph(candidate)
                if len(text.split()) in WORDS:
                    yield text


def _modules(package: str) -> Iterator[types.ModuleType]:
    root = importlib.import_module(package)
    yield root
    for found in pkgutil.walk_packages(root.__path__, f"{package}."):
        if not SKIPPED.search(found.name) and "windows" not in found.name:
            yield importlib.import_module(found.name)


def _first_paragraph(item: object) -> str:
    documented = callable(item) or isinstance(item, property | classmethod | staticmethod)
    text = getattr(item, "__doc__", None) if documented else None
    if not isinstance(text, str):
        return ""
    paragraph = " ".join(inspect.cleandoc(text).split("\n\n")[0].split())
    return GIVEAWAYS.sub(MASK, paragraph)


if __name__ == "__main__":
    main()
