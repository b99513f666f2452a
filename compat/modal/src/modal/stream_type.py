"""Where the output of a command in a sandbox goes."""

from __future__ import annotations

from modal._standins import standins
from volant.types import StreamType as StreamType

__getattr__ = standins(__name__)
