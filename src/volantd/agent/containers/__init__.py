"""What becomes of containers."""
