"""Devices of the host that one container gets: which nodes and files, and how it comes to them."""
