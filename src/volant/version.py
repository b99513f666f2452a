"""The version of Volant, and the series of the Python that runs it."""

from __future__ import annotations

import sys

#: Client and daemon of different versions do not talk.
VERSION = "0.1.0"
#: Such as "3.12": what byte code and installed packages are made for.
SERIES = f"{sys.version_info[0]}.{sys.version_info[1]}"
