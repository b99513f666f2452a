"""Secrets that are stored, and the key with which they and descriptions of apps are sealed."""
