"""Tests of the chart that need helm and no cluster."""

from gotools.fixtures import helm

__all__ = ["helm"]
