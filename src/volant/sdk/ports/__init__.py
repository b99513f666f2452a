"""Ports of containers that are reached from outside of them."""
