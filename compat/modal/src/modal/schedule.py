"""When functions are called by themselves."""

from __future__ import annotations

from modal._standins import standins
from volant import Cron as Cron, Period as Period
from volant.sdk.objects.schedule import Schedule as Schedule

__getattr__ = standins(__name__)
