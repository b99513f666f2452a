"""Commands for notebooks: not there yet."""

from __future__ import annotations

from modal._standins import standins

__getattr__ = standins(__name__, "load_ipython_extension")
