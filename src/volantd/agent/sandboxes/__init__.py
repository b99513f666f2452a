"""Sandboxes on this machine: forked beside a base of their image, commands in them, their ends."""
