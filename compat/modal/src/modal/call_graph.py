"""The calls that a call has made."""

from __future__ import annotations

from modal._standins import standins
from volant.types import InputInfo as InputInfo, InputStatus as InputStatus

__getattr__ = standins(__name__)
