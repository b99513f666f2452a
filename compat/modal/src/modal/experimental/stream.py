"""Logs that programs append to: not there yet."""

from __future__ import annotations

from modal._standins import standins

__getattr__ = standins(
    __name__,
    "AppendResult",
    "Entry",
    "IdempotencyConflict",
    "Stream",
    "StreamInfo",
    "StreamManager",
    "StreamToken",
    "StreamWriter",
)
