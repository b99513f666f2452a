"""What lets requests in to a port of a sandbox."""

from __future__ import annotations


class ConnectCredentials:
    """An address, and the token that is shown there. Made by `Sandbox.create_connect_token`."""

    __slots__ = ("token", "url")

    def __init__(self, url: str, token: str) -> None:
        """`url`: of the port, with a slash at its end."""
        self.url = url
        self.token = token

    def __repr__(self) -> str:
        return f"<volant.ConnectCredentials for {self.url}>"
