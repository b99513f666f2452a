"""Dicts: entries in the database, large values in files beside it."""
