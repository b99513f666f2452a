"""Copies of sandboxes with all that runs in them: forks."""
