"""What marks a function, or a method of a class, as one that answers to the web.

    @app.function()
    @volant.fastapi_endpoint()      def greet(name: str) -> str: ...    one route of FastAPI
    @volant.asgi_app()              def web(): return app               a whole app
    @volant.wsgi_app()              def web(): return app
    @volant.web_server(8000)        def serve(): Popen(...)             whatever listens on a port

Each leaves a mark on the plain function, which is the form that control messages have; what
decorates it above reads that.
"""

from __future__ import annotations

from volant.errors import DeprecationError, InvalidError
from volant.sdk.classes.handles import Cls
from volant.sdk.classes.marks import HOOK_MARK, Method
from volant.sdk.function import BATCHED_MARK, WEB_MARK as MARK, Function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Concatenate, NoReturn, ParamSpec, Protocol, TypeVar

    from volant.sdk.generics import Generic, P, R

    S = TypeVar("S")
    T = TypeVar("T")
    Q = ParamSpec("Q")

    class Endpoint(Generic[P, R]):
        """What a decorated function is to type checkers: itself, and a method inside a class."""

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

        def __get__(
            self: Endpoint[Concatenate[S, Q], T], instance: object, owner: type
        ) -> Function[Q, T, T]: ...

    class WebDecorator(Protocol):
        """What the decorators return."""

        def __call__(self, raw: Callable[P, R], /) -> Endpoint[P, R]: ...


METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS")
STARTUP_TIMEOUT_DEFAULT_S = 5.0
STARTUP_TIMEOUT_MAX_S = 86400
PORT_MAX = 65535
#: Characters of a label, and of each part of a domain.
LABEL_CHARS_MAX = 63
DOMAIN_CHARS_MAX = 253
_LABEL_CHARS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
#: Bits of code.co_flags.
_VARARGS, _VARKEYWORDS = 0x04, 0x08
_GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x200


def fastapi_endpoint(
    _positional: None = None,
    *,
    method: str = "GET",
    label: str | None = None,
    custom_domains: Sequence[str] | None = None,
    docs: bool = False,
    requires_proxy_auth: bool = False,
) -> WebDecorator:
    """Have a function answer to HTTP, as one route of FastAPI, which its image has to have.

    Parameters come from the query or the body by their types, and pages of any origin may ask.

    Args:
        method: the one that it answers to; others get 405.
        label: its part of the address, instead of one made of the names of app and function.
        custom_domains: further host names that it answers to.
        docs: serve `/docs`, `/redoc` and `/openapi.json`.
        requires_proxy_auth: answer to who shows a token only.

    Raises:
        InvalidError: for a value that makes no sense, without parentheses, and on what is no plain
            function; for generator functions, which have to return a streaming response instead.
    """
    _refuse_positional("fastapi_endpoint", _positional)
    if not isinstance(method, str) or method.upper() not in METHODS:
        raise InvalidError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    form = _form("fastapi", label, custom_domains, requires_proxy_auth)
    return _decorator("fastapi_endpoint", {**form, "method": method.upper(), "docs": bool(docs)})


def asgi_app(
    _positional: None = None,
    *,
    label: str | None = None,
    custom_domains: Sequence[str] | None = None,
    requires_proxy_auth: bool = False,
) -> WebDecorator:
    """Have a function answer to the web by the ASGI app that it returns, once in each container.

    Args:
        label: its part of the address, instead of one made of the names of app and function.
        custom_domains: further host names that it answers to.
        requires_proxy_auth: answer to who shows a token only.

    Raises:
        InvalidError: for a value that makes no sense, without parentheses, and on what is no plain
            function; for async functions and those with parameters.
    """
    _refuse_positional("asgi_app", _positional)
    return _decorator("asgi_app", _form("asgi", label, custom_domains, requires_proxy_auth))


def wsgi_app(
    _positional: None = None,
    *,
    label: str | None = None,
    custom_domains: Sequence[str] | None = None,
    requires_proxy_auth: bool = False,
) -> WebDecorator:
    """Have a function answer to the web by the WSGI app that it returns, such as one of Flask.

    Args:
        label: its part of the address, instead of one made of the names of app and function.
        custom_domains: further host names that it answers to.
        requires_proxy_auth: answer to who shows a token only.

    Raises:
        InvalidError: as for `asgi_app`.
    """
    _refuse_positional("wsgi_app", _positional)
    return _decorator("wsgi_app", _form("wsgi", label, custom_domains, requires_proxy_auth))


def web_server(
    port: int,
    *,
    startup_timeout: float = STARTUP_TIMEOUT_DEFAULT_S,
    label: str | None = None,
    custom_domains: Sequence[str] | None = None,
    requires_proxy_auth: bool = False,
) -> WebDecorator:
    """Have a function answer to the web by a server that it starts; it returns when that runs.

    Args:
        port: what the server listens on, at 0.0.0.0 or 127.0.0.1.
        startup_timeout: seconds until the port has to accept.
        label: its part of the address, instead of one made of the names of app and function.
        custom_domains: further host names that it answers to.
        requires_proxy_auth: answer to who shows a token only.

    Raises:
        InvalidError: as for `asgi_app`.
    """
    if callable(port):
        raise InvalidError(
            "@volant.web_server needs a port: @volant.web_server(8000)",
            hint="write @volant.web_server(8000)",
        )
    if type(port) is not int or not 1 <= port <= PORT_MAX:
        raise InvalidError(f"port must be from 1 to {PORT_MAX}, got {port!r}")
    is_number = isinstance(startup_timeout, (int, float)) and not isinstance(startup_timeout, bool)
    if not is_number or not 0 < startup_timeout <= STARTUP_TIMEOUT_MAX_S:
        raise InvalidError(
            f"startup_timeout must be from 0 to {STARTUP_TIMEOUT_MAX_S} seconds, got "
            f"{startup_timeout!r}"
        )
    form = _form("server", label, custom_domains, requires_proxy_auth)
    started = {"port": port, "startup_timeout_s": float(startup_timeout)}
    return _decorator("web_server", {**form, **started})


def web_endpoint(*args: object, **kwargs: object) -> NoReturn:
    """The old name of `fastapi_endpoint`.

    Raises:
        DeprecationError: always.
    """
    raise DeprecationError("@volant.web_endpoint is called @volant.fastapi_endpoint now")


def _form(
    kind: str, label: str | None, custom_domains: Sequence[str] | None, requires_proxy_auth: bool
) -> dict[str, object]:
    """How a function answers to the web, as a control message carries it."""
    if label is not None and not _is_label(label):
        raise InvalidError(
            f"label {label!r} cannot be part of a host name",
            hint=f"use lower-case letters, digits and `-`, at most {LABEL_CHARS_MAX}",
        )
    if isinstance(custom_domains, str):
        raise InvalidError(
            f"custom_domains must be a list of host names, got {custom_domains!r}",
            hint=f"write custom_domains=[{custom_domains!r}]",
        )
    for domain in custom_domains or ():
        if not _is_domain(domain):
            raise InvalidError(f"custom_domains: {domain!r} is no host name")
    return {
        "kind": kind, "label": label, "method": None, "docs": False, "port": None,
        "startup_timeout_s": None, "requires_proxy_auth": bool(requires_proxy_auth),
        "custom_domains": list(custom_domains or ()),
    }  # fmt: skip


def _is_label(label: object) -> bool:
    if not isinstance(label, str) or not 0 < len(label) <= LABEL_CHARS_MAX:
        return False
    return _LABEL_CHARS.issuperset(label) and "-" not in (label[0], label[-1])


def _is_domain(domain: object) -> bool:
    if not isinstance(domain, str) or len(domain) > DOMAIN_CHARS_MAX:
        return False
    return all(map(_is_label, domain.removeprefix("*.").split(".")))


def _refuse_positional(name: str, value: object) -> None:
    if value is not None:
        raise InvalidError(
            f"@volant.{name} needs parentheses: @volant.{name}()", hint=f"write @volant.{name}()"
        )


def _decorator(name: str, form: dict[str, object]) -> WebDecorator:
    def decorate(raw: Any) -> Any:
        _check_raw(name, raw)
        _check_form(name, raw)
        setattr(raw, MARK, form)
        return raw

    return decorate


def _check_raw(name: str, raw: Any) -> None:
    """Refuse what is no plain function, and what another decorator has made of one."""
    if isinstance(raw, Function):
        raise InvalidError(
            f"@volant.{name} is above @app.function of `{raw.__name__}`: swap the order",
            hint=f"write @app.function() above @volant.{name}(...)",
        )
    if isinstance(raw, (Cls, type)):
        raise InvalidError(
            f"@volant.{name} is on the class `{raw.__name__}`: use it on a method of the class",
            hint="write it right above a `def` in the class, with @app.cls() above the class",
        )
    if isinstance(raw, Method) or hasattr(raw, HOOK_MARK):
        raise InvalidError(
            f"`{raw.__name__}` has a decorator of a life cycle already, and @volant.{name} takes "
            "its place",
            hint="drop the other one",
        )
    if not hasattr(raw, "__code__"):
        raise InvalidError(
            f"@volant.{name} needs a function, got {raw!r}", hint="write it right above a `def`"
        )
    if hasattr(raw, MARK):
        raise InvalidError(
            f"`{raw.__name__}` answers to the web already", hint="drop one decorator"
        )


def _check_form(name: str, raw: Any) -> None:
    """Refuse a function that the decorator cannot serve."""
    code = raw.__code__
    if code.co_flags & (_GENERATOR | _ASYNC_GENERATOR):
        raise InvalidError(
            f"generator function `{raw.__name__}` cannot answer to the web as it is",
            hint="stream by returning fastapi.responses.StreamingResponse(values()), with the "
            "generator as a function of its own",
        )
    if name == "fastapi_endpoint":
        return
    if code.co_flags & _COROUTINE:
        raise InvalidError(
            f"`{raw.__name__}` is an async function, and @volant.{name} needs a plain one",
            hint="write `def`: it only returns the app"
            if name != "web_server"
            else "write `def`: it only starts the server",
        )
    count = code.co_argcount + code.co_kwonlyargcount - _is_in_class(raw)
    if count > 0 or code.co_flags & (_VARARGS | _VARKEYWORDS):
        raise InvalidError(
            f"`{raw.__name__}` has parameters, and nobody to pass them: a function with "
            f"@volant.{name} takes none",
            hint="parameters of requests belong to the app that it returns"
            if name != "web_server"
            else "parameters of requests belong to the server that it starts",
        )


def _is_in_class(raw: Any) -> bool:
    around = raw.__qualname__.rpartition(".")[0]
    return bool(around) and not around.endswith("<locals>")


def with_web(name: str, raws: Sequence[Any], options: dict[str, Any]) -> dict[str, Any]:
    """The options of a function or class that answers to the web.

    Args:
        name: how it is called.
        raws: its plain functions that are marked.
        options: what its decorator says.

    Raises:
        InvalidError: beside options that contradict the marks.
    """
    if options["retries"]["max_retries"]:
        raise InvalidError(
            f"`{name}` answers to the web and cannot have retries",
            hint="who sends a request knows whether it may be sent again",
        )
    for raw in raws:
        if hasattr(raw, BATCHED_MARK):
            raise InvalidError(
                f"`{raw.__name__}` answers to the web and cannot have @volant.batched",
                hint="batch in a function of its own, and call that with `.remote.aio(...)`",
            )
    # Requests that are under way may finish, and lifespans are shut down.
    return {**options, "has_exit": True}
