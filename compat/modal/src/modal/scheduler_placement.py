"""Where containers run: there is one machine."""

from __future__ import annotations

from modal._standins import standins

__getattr__ = standins(__name__, "SchedulerPlacement")
