"""`Handle`: what every handle has, whatever it is on, and twins for what asks nobody.

d.is_hydrated   d.client   d.get_dashboard_url()

@at_once
@staticmethod
def from_id(...)        X.from_id(...) and await X.from_id.aio(...), which are the same
"""

from __future__ import annotations

from volant.errors import ExecutionError, InvalidError
from volant.sdk.generics import Generic, P, R

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from volant.sdk.objects.client import Client


class Handle:
    """A handle on something that has an id once it is known."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def object_id(self) -> str | None: ...

    @property
    def client(self) -> Client:
        """The client of this process, which all handles use."""
        from volant.sdk.objects.client import Client

        return Client.from_env()

    @property
    def is_hydrated(self) -> bool:
        """Whether its id is known."""
        return self.object_id is not None

    @property
    def get_dashboard_url(self) -> GetDashboardUrl:
        """What it is, as an address: `x.get_dashboard_url()`, such as `volant:ap-…`.

        There is no page at it: commands such as `volant app info` take the id.

        Raises (when called):
            ExecutionError: for what has no id yet.
        """
        return GetDashboardUrl(self)


class GetDashboardUrl:
    """`x.get_dashboard_url()` and `x.get_dashboard_url.aio()`, which ask nobody."""

    __slots__ = ("_handle",)

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def __call__(self) -> str:
        object_id = self._handle.object_id
        if object_id is None:
            raise ExecutionError(
                f"{self._handle!r} has no id yet, so it has no address either",
                hint="use it first, or call its hydrate()",
            )
        return f"volant:{object_id}"

    async def aio(self) -> str:
        """The same, awaited."""
        return self()


class at_once(Generic[P, R]):  # a decorator
    """Give a function of a class that asks nobody the twin `.aio` that others have."""

    def __init__(self, function: Callable[P, R]) -> None:
        self._function = function
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.__wrapped__ = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._function(*args, **kwargs)

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The same, awaited."""
        return self._function(*args, **kwargs)


def check_client(client: Client | None) -> None:
    """Refuse what is no client; one that is adds nothing to the one of this process.

    Raises:
        InvalidError: for anything but a `Client` or None.
        ClientClosed: for one that is closed.
    """
    if client is None:
        return
    from volant.sdk.objects.client import Client

    if not isinstance(client, Client):
        raise InvalidError(
            f"client must be a volant.Client, got {client!r}", hint="leave it out: there is one"
        )
    client._check()
