"""Requests of user code in containers about their ports."""
