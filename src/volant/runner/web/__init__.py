"""Containers whose functions answer to the web, on sockets that came ahead of START.

Imported for such functions only. `uvicorn` and what else serves is lent by the installation behind
the packages of the image, whose own come first.
"""
