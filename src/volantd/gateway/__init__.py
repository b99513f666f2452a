"""The door for HTTP: its own process, that finds the container for each request and relays.

Knows nothing of calls and functions: the hub tells it routes, and lends it slots of containers.
"""
