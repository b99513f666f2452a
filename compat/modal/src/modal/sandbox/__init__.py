"""Sandboxes."""

from __future__ import annotations

from modal._standins import standins
from volant import (
    Probe as Probe,
    Sandbox as Sandbox,
    SandboxSnapshot as SandboxSnapshot,
    Tunnel as Tunnel,
)
from volant.types import (
    FileWatchEvent as FileWatchEvent,
    FileWatchEventType as FileWatchEventType,
    SandboxConnectCredentials as SandboxConnectCredentials,
    SandboxFilesystem as SandboxFilesystem,
    SidecarContainer as SidecarContainer,
    SidecarManager as SidecarManager,
    StreamReader as StreamReader,
    StreamType as StreamType,
    StreamWriter as StreamWriter,
)

# As 1.4 called them.
SandboxContainer = SidecarContainer
SandboxContainerManager = SidecarManager

__getattr__ = standins(
    __name__,
    "DefaultSandboxNameOverride",
    "SandboxVersion",
)
