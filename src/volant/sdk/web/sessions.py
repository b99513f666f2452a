"""Sessions of a server that own a container: `@volant.sessioned()`, `server.sessions`.

session = Chat.sessions.start()                     # waits for a container
requests with `Volant-Session-Id: <session_id>`     # all go there, and nobody else's
Chat.sessions.terminate(session.token)              # or it ends when it is idle
"""

from __future__ import annotations

from volant.errors import InvalidError
from volant.sdk.calls.autoscaler import Record
from volant.sdk.calls.calling import warn_blocking
from volant.wire.frames import FUNCTION_MASK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from volant.sdk.calls.calling import Binding

    C = TypeVar("C", bound=type)

#: What `sessioned` leaves in a class.
MARK = "__volant_sessioned__"
IDLE_TIMEOUT_DEFAULT_S = 600
#: The shortest and the longest that a session may send nothing.
IDLE_TIMEOUT_LIMITS_S = (1, 7 * 86400)
_RIGHT_FORM = "write @app.server() above @volant.sessioned() above the class"


def sessioned(_positional: None = None) -> Callable[[C], C]:
    """Have each session of a server own a container: stands between `@app.server()` and the class.

    Raises:
        InvalidError: for what is no plain class, and without parentheses.
    """
    if _positional is not None:
        raise InvalidError(
            "@volant.sessioned needs parentheses: @volant.sessioned()", hint=_RIGHT_FORM
        )

    def decorate(user_cls: C) -> C:
        if not isinstance(user_cls, type):
            raise InvalidError(f"@volant.sessioned needs a class, got {user_cls!r}",
                               hint=_RIGHT_FORM)  # fmt: skip
        setattr(user_cls, MARK, True)
        return user_cls

    return decorate


class ServerSession(Record):
    """A session that owns a container."""

    __slots__ = ("session_id", "token")

    def __init__(self, session_id: str, token: str) -> None:
        #: What its requests say in `Volant-Session-Id`.
        self.session_id = session_id
        #: What it is ended by; whoever only sends requests need not know it.
        self.token = token

    def __repr__(self) -> str:
        return f"ServerSession(session_id={self.session_id!r}, token=...)"


class _Form:
    """One thing to ask about the sessions of a server."""

    __slots__ = ("_bound", "_name")

    def __init__(self, name: str, bound: Callable[[], Binding]) -> None:
        self._name = name
        self._bound = bound

    def _ask(self, op: str, form: str, fields: dict[str, object]) -> None:
        called = f"{self._name}.sessions.{form}"
        warn_blocking(f"{called}(...)", f"await {called}.aio(...)", 4)
        binding = self._bound()
        binding.channel.request(op, number=binding.number & FUNCTION_MASK, **fields)

    async def _ask_async(self, op: str, fields: dict[str, object]) -> None:
        from volant.sdk.calls.call import request_async

        await request_async(op, number=self._bound().number & FUNCTION_MASK, **fields)


class StartSession(_Form):
    """`server.sessions.start(...)` and its `.aio`: waits until the session has a container."""

    __slots__ = ()

    def __call__(self, idle_timeout: float = IDLE_TIMEOUT_DEFAULT_S) -> ServerSession:
        """Start a session.

        Args:
            idle_timeout: seconds without a request after which it ends.

        Raises:
            InvalidError: for a time that makes no sense, and for a server without such sessions.
            ExecutionError: when no container of the server starts.
            TimeoutError: when none was free for 25 minutes.
        """
        session, fields = _made(idle_timeout)
        self._ask("session_start", "start", fields)
        return session

    async def aio(self, idle_timeout: float = IDLE_TIMEOUT_DEFAULT_S) -> ServerSession:
        session, fields = _made(idle_timeout)
        await self._ask_async("session_start", fields)
        return session


class TerminateSession(_Form):
    """`server.sessions.terminate(token)` and its `.aio`: ends a session and its container."""

    __slots__ = ()

    def __call__(self, token: str) -> None:
        """End a session.

        Raises:
            NotFoundError: when there is none with this token.
        """
        self._ask("session_terminate", "terminate", {"token": _checked(token)})

    async def aio(self, token: str) -> None:
        await self._ask_async("session_terminate", {"token": _checked(token)})


def _made(idle_timeout: Any) -> tuple[ServerSession, dict[str, object]]:
    import secrets

    low, high = IDLE_TIMEOUT_LIMITS_S
    is_number = isinstance(idle_timeout, (int, float)) and not isinstance(idle_timeout, bool)
    if not is_number or not low <= idle_timeout <= high:
        raise InvalidError(f"idle_timeout must be from {low} to {high} s, got {idle_timeout!r}")
    session = ServerSession(f"se-{secrets.token_hex(16)}", f"st-{secrets.token_urlsafe(32)}")
    return session, {
        "session": session.session_id, "token": session.token,
        "idle_timeout_s": float(idle_timeout),
    }  # fmt: skip


def _checked(token: object) -> str:
    if not isinstance(token, str) or not token.startswith("st-"):
        raise InvalidError("a session is ended by its token", hint="give `session.token`")
    return token


class ServerSessions:
    """`server.sessions`: sessions that own a container."""

    __slots__ = ("start", "terminate")

    def __init__(self, name: str, bound: Callable[[], Binding]) -> None:
        """`bound`: gives where the hub finds the server."""
        self.start = StartSession(name, bound)
        self.terminate = TerminateSession(name, bound)
