"""Finds things among rendered objects."""

from __future__ import annotations

from typing import Any

Objects = list[dict[str, Any]]


def of_kind(objects: Objects, kind: str) -> Objects:
    return [each for each in objects if each["kind"] == kind]


def the(objects: Objects, kind: str) -> dict[str, Any]:
    (only,) = of_kind(objects, kind)
    return only


def pod(objects: Objects) -> dict[str, Any]:
    spec: dict[str, Any] = the(objects, "Deployment")["spec"]["template"]["spec"]
    return spec


def arguments(objects: Objects) -> list[str]:
    (container,) = pod(objects)["containers"]
    args: list[str] = container["args"]
    return args
