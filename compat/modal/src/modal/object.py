"""What all handles have in common."""

from __future__ import annotations

from modal._standins import standins
from volant.sdk.objects.handle import Handle

__getattr__ = standins(__name__)
Object = Handle
