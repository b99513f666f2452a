"""`Client`: the connection of a process to its daemon, as a value that programs pass on.

    client = volant.Client.from_env()
    volant.Dict.from_name("index", client=client)       as without it

A process has one connection, and the daemon belongs to whoever owns its home. So all clients are
alike, and what is said of accounts to make one is checked and means nothing.
"""

from __future__ import annotations

from volant.channel import current
from volant.errors import ClientClosed, InvalidError
from volant.sdk.calls.calling import warn_blocking
from volant.sdk.objects.handle import at_once
from volant.sdk.planned import unimplemented

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self


class Client:
    """The client of this process. See `volant.Client.from_env`."""

    def __init__(self) -> None:
        """Made by `from_env` and its like."""
        self._closed = False

    def __repr__(self) -> str:
        return "<volant.Client, closed>" if self._closed else "<volant.Client>"

    @at_once
    @staticmethod
    def from_env() -> Client:
        """The client of this process; asks nobody until it is used.

        Example:
            >>> Client.from_env()
            <volant.Client>
        """
        global _present
        if _present is None or _present._closed:
            _present = Client()
        return _present

    @at_once
    @staticmethod
    def from_credentials(token_id: str, token_secret: str) -> Client:
        """A client of this process's own: the daemon knows no accounts, whatever token is given.

        Raises:
            InvalidError: for what is no text.

        Example:
            >>> Client.from_credentials("ak-1", "as-2")
            <volant.Client>
        """
        for value in (token_id, token_secret):
            if not isinstance(value, str) or not value:
                raise InvalidError(
                    f"a token is two texts, and one is of type {type(value).__name__}",
                    hint="Client.from_env() needs none",
                )
        return Client()

    @at_once
    @staticmethod
    def from_oauth_credentials(
        refresh_token: str, oauth_client_id: str = "", oauth_client_secret: str = "",
        oauth_jwt_key: str = "",
    ) -> Client:  # fmt: skip
        """As `from_credentials`.

        Raises:
            InvalidError: for what is no text.
        """
        return Client.from_credentials(refresh_token, refresh_token)

    @at_once
    @staticmethod
    def anonymous(server_url: str = "") -> Client:
        """As `from_env`: the one daemon that is reached is that of this process's home.

        Raises:
            UnimplementedError: for the address of another.
        """
        if server_url:
            raise unimplemented("Client.anonymous(server_url=...)")
        return Client.from_env()

    @at_once
    @staticmethod
    def verify(server_url: str = "", credentials: tuple[str, str] | None = None) -> None:
        """Make sure that the daemon of this process can be reached; there is nothing to prove.

        Raises:
            ConnectionError: when it cannot be reached or started.
            UnimplementedError: for the address of another.
        """
        Client.anonymous(server_url).hello()

    @property
    def hello(self) -> Hello:
        """Make sure that the daemon answers, starting it if need be: `client.hello()`.

        Raises (when called):
            ConnectionError: when it cannot be reached or started.
            ClientClosed: for a client that is closed.
        """
        return Hello(self)

    @property
    def close(self) -> Close:
        """Have this client refuse to be used: `client.close()`. The connection stays."""
        return Close(self)

    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def _check(self) -> None:
        if self._closed:
            raise ClientClosed("this client was closed", hint="Client.from_env() gives another")

    def __enter__(self) -> Self:
        self._check()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed = True

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed = True


_present: Client | None = None


class _OfClient:
    __slots__ = ("_client",)

    def __init__(self, client: Client) -> None:
        self._client = client


class Hello(_OfClient):
    """`client.hello()` and `client.hello.aio()`."""

    __slots__ = ()

    def __call__(self) -> None:
        warn_blocking("client.hello()", "await client.hello.aio()")
        self._client._check()
        current.channel()

    async def aio(self) -> None:
        """The same, awaited."""
        import asyncio

        self._client._check()
        await asyncio.get_running_loop().run_in_executor(None, current.channel)


class Close(_OfClient):
    """`client.close()` and `client.close.aio()`, which ask nobody."""

    __slots__ = ()

    def __call__(self) -> None:
        self._client._closed = True

    async def aio(self) -> None:
        """The same, awaited."""
        self._client._closed = True
