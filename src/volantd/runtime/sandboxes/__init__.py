"""Sandboxes as the agent drives them: commands that their holders fork."""
