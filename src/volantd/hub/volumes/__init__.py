"""Requests about volumes: looked into, changed, sent to, committed."""
