"""Maps: nothing here is for users."""

from __future__ import annotations

from modal._standins import standins
from volant import current_input_id as current_input_id

__getattr__ = standins(
    __name__,
    "AsyncInputPumper",
    "InputPreprocessor",
    "InputPumper",
    "SyncInputPumper",
    "SynchronizedQueue",
)
