"""Files of sandboxes."""

from __future__ import annotations

from modal._standins import standins
from volant.types import (
    FileInfo as FileInfo,
    FileType as FileType,
    FileWatchEvent as FileWatchEvent,
    FileWatchEventType as FileWatchEventType,
    SandboxFilesystem as SandboxFilesystem,
)

__getattr__ = standins(__name__)
