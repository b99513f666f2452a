"""Containers that run one input together."""

from __future__ import annotations

from modal._standins import standins
from volant import Cluster as Cluster

__getattr__ = standins(__name__)
