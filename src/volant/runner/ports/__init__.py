"""Ports that are a container's own, although it shares the host's network.

`rules` says what becomes of an address, `held` speaks with the kernel, `supervisor` acts.
"""
