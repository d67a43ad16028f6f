"""Tests of what Argo CD and Flux make of the resources; they need no cluster."""

from gotools.fixtures import kstatus

__all__ = ["kstatus"]
