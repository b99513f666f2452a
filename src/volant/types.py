"""Types of what requests return: a public module of the programming model.

What is not there yet says so by its name.
"""

from __future__ import annotations

from volant.sdk.calls.autoscaler import (
    AutoscalerSettings as AutoscalerSettings,
    FunctionStats as FunctionStats,
)
from volant.sdk.calls.graph import InputInfo as InputInfo, InputStatus as InputStatus
from volant.sdk.calls.logs import LogEntry as LogEntry
from volant.sdk.objects.named import ObjectInfo as ObjectInfo
from volant.sdk.planned import planned_module
from volant.sdk.sandboxes.files.info import (
    FileInfo as FileInfo,
    FileType as FileType,
    FileWatchEvent as FileWatchEvent,
    FileWatchEventType as FileWatchEventType,
)
from volant.sdk.sandboxes.process import ContainerProcess as ContainerProcess
from volant.sdk.sandboxes.streams import StreamType as StreamType
from volant.sdk.volumes.entries import FileEntry as FileEntry, FileEntryType as FileEntryType
from volant.sdk.web.counted import ServerStats as ServerStats
from volant.sdk.web.info import ServerInfo as ServerInfo
from volant.sdk.web.sessions import ServerSession as ServerSession

__getattr__ = planned_module(__name__)
