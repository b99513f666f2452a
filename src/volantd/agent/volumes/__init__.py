"""Volumes in the containers of this machine: mounted at their start, committed until their end."""
