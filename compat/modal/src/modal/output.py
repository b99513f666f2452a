"""Showing what happens, in a program that is no command."""

from __future__ import annotations

from modal._standins import standins
from volant import enable_output as enable_output

__getattr__ = standins(__name__)
