"""The version of Volant; client and daemon of different versions do not talk."""

from __future__ import annotations

VERSION = "0.1.0"
