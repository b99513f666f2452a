"""Servers as they were before `modal.Server`."""

from __future__ import annotations

from modal._standins import standins

__getattr__ = standins(__name__, "ServerManager", "server_forward")
