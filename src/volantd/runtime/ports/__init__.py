"""Addresses that are a container's own on the network it shares, and ways to its ports."""
