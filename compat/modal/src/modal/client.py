"""The client of a process."""

from __future__ import annotations

from modal._standins import standins
from volant import Client as Client

__getattr__ = standins(__name__)
