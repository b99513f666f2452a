"""Encryption at rest: the keys of a home, and what of the database is sealed with them.

Importing `cryptography` takes 15 ms, so it is imported when something is sealed or opened.
"""
