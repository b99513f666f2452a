"""Backups: what outlives the daemon, in a directory elsewhere, and put back from there."""
