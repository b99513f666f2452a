"""Queues that programs share."""

from __future__ import annotations

from modal._standins import standins
from volant import Queue as Queue
from volant.types import QueueInfo as QueueInfo

__getattr__ = standins(__name__)
QueueManager = type(Queue.objects)
