"""Runs Argo CD's scripts as Argo CD does: Lua 5.1 with few libraries, in which strings have no methods."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lupa import lua51

_TAKEN_AWAY = ("string", "math", "io", "debug", "coroutine")
# What `os` keeps, and how a script gets at it.
_SAFE_OS = (
    "os = {time = os.time, date = os.date}; package.loaded.os = os; package.path, package.cpath = '', ''"
)


def run_lua(script: Path, manifest: Mapping[str, Any], **parameters: str) -> Any:
    """What a script returns for a resource, as plain dicts and lists.

    Args:
        script: health.lua, discovery.lua or action.lua.
        manifest: The resource, which the script knows as `obj`.
        parameters: An action's parameters.

    Raises:
        lua51.LuaError: The script fails.
    """
    runtime = lua51.LuaRuntime(unpack_returned_tuples=True, register_eval=False, register_builtins=False)
    runtime.execute("getmetatable('').__index = nil")
    runtime.execute(_SAFE_OS)
    for name in _TAKEN_AWAY:
        runtime.globals()[name] = None
        runtime.execute(f"package.loaded.{name} = nil")
    runtime.globals().obj = runtime.table_from(manifest, recursive=True)
    runtime.globals().actionParams = runtime.table_from(parameters)
    return _plain(runtime.execute(script.read_text(encoding="utf-8")), manifest)


def _plain(value: Any, like: object) -> Any:
    """A table as a list where the resource has one there, or where it looks like one, and a dict elsewhere."""
    if lua51.lua_type(value) != "table":
        return int(value) if isinstance(value, float) and value.is_integer() else value
    keys = list(value.keys())
    if isinstance(like, list) or (
        keys and keys == list(range(1, len(keys) + 1)) and not isinstance(like, Mapping)
    ):
        beside = like if isinstance(like, list) else [None] * len(keys)
        return [_plain(value[key], old) for key, old in zip(keys, beside, strict=True)]
    known = like if isinstance(like, Mapping) else {}
    return {key: _plain(value[key], known.get(key)) for key in keys}
