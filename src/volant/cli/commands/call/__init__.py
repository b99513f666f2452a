"""`volant call`: calls that are kept."""

from __future__ import annotations

from volant.cli.commands.call import replaying as replaying
from volant.cli.commands.call.looking import group

__all__ = ["group"]
