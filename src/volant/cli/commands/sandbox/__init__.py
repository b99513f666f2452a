"""`volant sandbox`: containers made at run time."""

from __future__ import annotations

from volant.cli.commands.sandbox.commands import group

__all__ = ["group"]
