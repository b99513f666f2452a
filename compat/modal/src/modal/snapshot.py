"""Snapshots of all that runs in a sandbox; those of its files are images."""

from __future__ import annotations

from volant import SandboxSnapshot as SandboxSnapshot
