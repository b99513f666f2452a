"""Sandboxes: where they are in 1.6."""

from __future__ import annotations

from modal._standins import standins
from volant import Sandbox as Sandbox, SandboxSnapshot as SandboxSnapshot
from volant.types import (
    SandboxFilesystem as SandboxFilesystem,
    SidecarContainer as SidecarContainer,
    SidecarManager as SidecarManager,
)

__getattr__ = standins(__name__)
