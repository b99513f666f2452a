"""Deployed apps: versions that outlive their client and the daemon, and replace each other."""
