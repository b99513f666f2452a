"""Ways to the ports of containers."""
