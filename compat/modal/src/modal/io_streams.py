"""What commands in sandboxes print and read."""

from __future__ import annotations

from modal._standins import standins
from volant.types import (
    StreamReader as StreamReader,
    StreamType as StreamType,
    StreamWriter as StreamWriter,
)

__getattr__ = standins(__name__)
