"""Sandboxes as the hub knows them: what they are, who may do what with them, and requests."""
