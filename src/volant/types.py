"""Types of what requests return: a public module of the programming model.

What is not there yet says so by its name.
"""

from __future__ import annotations

from volant.sdk.calls.autoscaler import (
    AutoscalerSettings as AutoscalerSettings,
    FunctionStats as FunctionStats,
)
from volant.sdk.calls.described import (
    CloudBucketMountInfo as CloudBucketMountInfo,
    FunctionInfo as FunctionInfo,
    VolumeMountInfo as VolumeMountInfo,
)
from volant.sdk.calls.graph import InputInfo as InputInfo, InputStatus as InputStatus
from volant.sdk.calls.logs import LogEntry as LogEntry
from volant.sdk.classes.handles import Obj as Obj
from volant.sdk.deploying.listed import (
    AppInfo as AppInfo,
    AppLifecycle as AppLifecycle,
    AppState as AppState,
)
from volant.sdk.objects.named import ObjectInfo as ObjectInfo
from volant.sdk.planned import planned_module
from volant.sdk.sandboxes.abilities.sidecars import (
    SidecarContainer as SidecarContainer,
    SidecarManager as SidecarManager,
)
from volant.sdk.sandboxes.connecting import ConnectCredentials as ConnectCredentials
from volant.sdk.sandboxes.files.filesystem import SandboxFilesystem as SandboxFilesystem
from volant.sdk.sandboxes.files.info import (
    FileInfo as FileInfo,
    FileType as FileType,
    FileWatchEvent as FileWatchEvent,
    FileWatchEventType as FileWatchEventType,
)
from volant.sdk.sandboxes.files.opened import FileIO as FileIO
from volant.sdk.sandboxes.process import ContainerProcess as ContainerProcess
from volant.sdk.sandboxes.streams import (
    StreamReader as StreamReader,
    StreamType as StreamType,
    StreamWriter as StreamWriter,
)
from volant.sdk.volumes.entries import FileEntry as FileEntry, FileEntryType as FileEntryType
from volant.sdk.volumes.uploading import BatchUpload as BatchUpload
from volant.sdk.web.counted import ServerStats as ServerStats
from volant.sdk.web.info import ServerInfo as ServerInfo
from volant.sdk.web.scaling import ServerAutoscalerSettings as ServerAutoscalerSettings
from volant.sdk.web.sessions import ServerSession as ServerSession

# As the programming model calls them.
DictInfo = QueueInfo = SecretInfo = VolumeInfo = ObjectInfo
FunctionAutoscalerSettings = AutoscalerSettings
FunctionCurrentStats = FunctionStats
SandboxConnectCredentials = ConnectCredentials
ServerSessionCredentials = ServerSession
VolumeUploadContextManager = BatchUpload

__getattr__ = planned_module(__name__)
