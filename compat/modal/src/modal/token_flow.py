"""Logging in: nobody has to."""

from __future__ import annotations

from modal._standins import standins

__getattr__ = standins(__name__, "TokenFlow")
