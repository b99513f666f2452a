"""`volant mcp`: sandboxes as tools of an MCP client."""

from __future__ import annotations

from volant.cli.commands.mcp.command import group

__all__ = ["group"]
