"""Dockerfiles followed: words expanded, files copied, one layer for each instruction that writes.

`words` takes instructions apart, `copying` fills layers, `following` does what instructions say.
"""
