"""Deployed apps, seen from a client: deploying them, and calling what was deployed."""
