"""Functions that answer to the web: what marks them, and how they are reached."""
