"""What is done with images that the daemon has: building, naming, looking up, reading logs.

Imported on use: no app that only runs functions pays for it.
"""
