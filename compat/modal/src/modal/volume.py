"""Files that outlive containers."""

from __future__ import annotations

from modal._standins import standins
from volant import Volume as Volume
from volant.types import (
    FileEntry as FileEntry,
    FileEntryType as FileEntryType,
    VolumeInfo as VolumeInfo,
    VolumeUploadContextManager as VolumeUploadContextManager,
)

__getattr__ = standins(__name__, "VolumeCreateOptions")
VolumeManager = type(Volume.objects)
AbstractVolumeUploadContextManager = VolumeUploadContextManager2 = VolumeUploadContextManager
