"""Dockerfiles followed: words expanded, files copied, one layer for each instruction that writes.

`words` takes instructions apart, `tree` looks through layers, `copying` fills layers,
`following` does what instructions say.
"""
