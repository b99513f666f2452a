"""Volumes on this machine: what is kept of them, how containers see them, what these commit."""
