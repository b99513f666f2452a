"""Files of sandboxes as they were reached before 1.6: `sandbox.filesystem` is what there is."""

from __future__ import annotations

from modal._standins import standins
from volant.types import (
    FileIO as FileIO,
    FileWatchEvent as FileWatchEvent,
    FileWatchEventType as FileWatchEventType,
)

__getattr__ = standins(__name__, "delete_bytes", "ls", "mkdir", "replace_bytes", "rm", "watch")
