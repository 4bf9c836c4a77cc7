"""Gives Dryad's tests their fixtures."""

from fix_dryad import dryads, engines

__all__ = ["dryads", "engines"]
