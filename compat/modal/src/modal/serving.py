"""What `modal serve` does; nothing here is for users."""

from __future__ import annotations

from modal._standins import standins
from volant import enable_output as enable_output

__getattr__ = standins(__name__, "serve_app", "serve_update")
