"""Tests of the chart that need helm and no cluster."""

from gotools.fixtures import helm, promtool

__all__ = ["helm", "promtool"]
