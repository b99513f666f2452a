"""Errors and warnings."""

from __future__ import annotations

from modal._standins import standins
from volant.errors import *  # noqa: F403  # their names are its names
from volant.errors import SandboxFilesystemError
from volant.sdk.inputs.retiring import simulate_preemption as simulate_preemption

__getattr__ = standins(__name__)
FilesystemExecutionError = SandboxFilesystemError
