"""Local files for containers, as they were given before 1.0: images have `add_local_dir`."""

from __future__ import annotations

from modal._standins import standins

__getattr__ = standins(
    __name__,
    "Mount",
    "NonLocalMountError",
    "client_mount_name",
    "create_client_dependency_mounts",
    "create_client_mount",
    "module_mount_condition",
    "module_mount_ignore_condition",
    "python_standalone_mount_name",
)
