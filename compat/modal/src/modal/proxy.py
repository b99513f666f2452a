"""Addresses of their own for what goes out: not there."""

from __future__ import annotations

from modal._standins import standins

__getattr__ = standins(__name__, "Proxy")
