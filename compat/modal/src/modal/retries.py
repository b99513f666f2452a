"""How often inputs are tried again."""

from __future__ import annotations

from modal._standins import standins
from volant import Retries as Retries

__getattr__ = standins(__name__, "RetryManager")
