"""Dictionaries that programs share."""

from __future__ import annotations

from modal._standins import standins
from volant import Dict as Dict
from volant.types import DictInfo as DictInfo

__getattr__ = standins(__name__)
DictManager = type(Dict.objects)
