"""An app while it runs: nothing here is for users."""

from __future__ import annotations

from modal._standins import standins

__getattr__ = standins(__name__, "RunningApp", "running_app_from_layout")
