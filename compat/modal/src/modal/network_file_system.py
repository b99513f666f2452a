"""Shared file systems of before volumes: `modal.Volume` is what there is."""

from __future__ import annotations

from modal._standins import standins

__getattr__ = standins(__name__, "NetworkFileSystem", "network_file_system_mount_protos")
