"""Volumes in containers: mounted into them from outside, in the launcher's forked children."""
