"""Copies of what runs in sandboxes: memory and processes by CRIU, files by hand."""
