"""Sandboxes: containers made at run time, in which commands of any image are run."""
