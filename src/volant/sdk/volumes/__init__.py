"""Volumes: handles on them, what is put into them, and where functions have them."""
