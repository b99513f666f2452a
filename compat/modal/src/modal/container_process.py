"""Commands in sandboxes."""

from __future__ import annotations

from modal._standins import standins
from volant.types import ContainerProcess as ContainerProcess, StreamType as StreamType

__getattr__ = standins(__name__)
