"""What makes no sense in a function that answers to the web is refused where it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import volant
from volant.errors import ExecutionError, InvalidError
from volant.sdk.function import WEB_MARK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

DECORATORS = ["fastapi_endpoint", "asgi_app", "wsgi_app", "web_server"]


def function(raw: Any, **settings: Any) -> Any:
    """A function of an app of its own."""
    return volant.App().function(serialized=True, **settings)(raw)


def cls(raw: Any, **settings: Any) -> Any:
    """Likewise a class."""
    return volant.App().cls(serialized=True, **settings)(raw)


def decorator(name: str, **settings: Any) -> Callable[[Any], Any]:
    ports = [8000] if name == "web_server" else []
    made: Callable[[Any], Any] = getattr(volant, name)(*ports, **settings)
    return made


def plain() -> None: ...


def seven() -> int:
    return 7


def generator() -> Iterator[int]:
    yield 1


async def generator_async() -> AsyncIterator[int]:
    yield 1


async def coroutine() -> None: ...


def with_parameter(path: str = "/") -> None: ...


def with_rest(*paths: str) -> None: ...


class Whole:
    def web(self) -> None: ...

    def with_parameter(self, path: str) -> None: ...

    @volant.method()
    def answer(self) -> int:
        return 42


def fresh(raw: Any) -> Any:
    """A copy of a function, which no test before has marked."""
    import types

    made = types.FunctionType(raw.__code__, raw.__globals__, raw.__name__)
    made.__qualname__ = raw.__qualname__
    return made


def test_what_is_marked_is_described() -> None:
    marked = fresh(plain)
    decorator("fastapi_endpoint", method="post", label="x-1", custom_domains=["a.b", "*.c.d"])(
        marked
    )
    assert getattr(marked, WEB_MARK) == {
        "kind": "fastapi", "label": "x-1", "method": "POST", "docs": False, "port": None,
        "startup_timeout_s": None, "requires_proxy_auth": False, "custom_domains": ["a.b", "*.c.d"],
    }  # fmt: skip
    server = fresh(plain)
    decorator("web_server", requires_proxy_auth=True)(server)
    assert getattr(server, WEB_MARK)["port"] == 8000
    assert getattr(server, WEB_MARK)["startup_timeout_s"] == 5.0
    made = function(server)
    assert made.to_wire("m", 0)["web"] == getattr(server, WEB_MARK)
    assert made._options["has_exit"] is True


@pytest.mark.parametrize("name", DECORATORS)
@pytest.mark.parametrize("raw", [generator, generator_async])
def test_generators_are_refused_with_a_pointer_to_streaming(name: str, raw: Any) -> None:
    """Behaviour 110."""
    with pytest.raises(InvalidError, match="generator function") as refused:
        decorator(name)(fresh(raw))
    assert "StreamingResponse" in (refused.value.hint or "")


@pytest.mark.parametrize("name", DECORATORS[1:])
@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        (coroutine, "`coroutine` is an async function"),
        (with_parameter, "`with_parameter` has parameters"),
        (with_rest, "`with_rest` has parameters"),
        (Whole.with_parameter, "`with_parameter` has parameters"),
    ],
)
def test_what_returns_an_app_is_plain_and_takes_nothing(
    name: str, raw: Any, complaint: str
) -> None:
    """Behaviour 110."""
    with pytest.raises(InvalidError, match=complaint):
        decorator(name)(fresh(raw))
    decorator("fastapi_endpoint")(fresh(raw))


@pytest.mark.parametrize("name", DECORATORS)
def test_a_wrong_order_is_named(name: str) -> None:
    """Behaviour 111."""
    with pytest.raises(InvalidError, match="swap the order"):
        decorator(name)(function(fresh(plain)))
    with pytest.raises(InvalidError, match="use it on a method of the class"):
        decorator(name)(Whole)
    with pytest.raises(InvalidError, match="use it on a method of the class"):
        decorator(name)(cls(Whole))
    with pytest.raises(InvalidError, match="life cycle already"):
        decorator(name)(volant.method()(fresh(Whole.web)))
    with pytest.raises(InvalidError, match="cannot be stacked on that"):
        volant.method()(decorator(name)(fresh(Whole.web)))
    with pytest.raises(InvalidError, match="answers to the web already"):
        decorator(name)(decorator("asgi_app")(fresh(plain)))
    with pytest.raises(InvalidError, match="needs a function"):
        decorator(name)(42)


@pytest.mark.parametrize("name", DECORATORS)
def test_concurrent_stands_above_or_below(name: str) -> None:
    """Behaviour 144."""
    many = volant.concurrent(max_inputs=7)
    for made in (function(many(decorator(name)(fresh(plain)))),
                 function(decorator(name)(many(fresh(plain))))):  # fmt: skip
        assert made._options["max_inputs"] == 7


@pytest.mark.parametrize("name", DECORATORS)
def test_it_needs_parentheses(name: str) -> None:
    with pytest.raises(InvalidError, match=r"needs (parentheses|a port)"):
        getattr(volant, name)(plain)


@pytest.mark.parametrize(
    ("name", "settings", "complaint"),
    [
        ("fastapi_endpoint", {"method": "FETCH"}, "method must be one of GET, POST"),
        ("fastapi_endpoint", {"label": "Capital"}, "label 'Capital' cannot be part of a host"),
        ("asgi_app", {"label": "-a"}, "label '-a' cannot be part"),
        ("asgi_app", {"label": ""}, "label '' cannot be part"),
        ("wsgi_app", {"label": "a" * 64}, "cannot be part of a host name"),
        ("wsgi_app", {"custom_domains": "example.com"}, "must be a list of host names"),
        ("wsgi_app", {"custom_domains": ["a..b"]}, "'a..b' is no host name"),
        ("web_server", {"startup_timeout": 0}, "startup_timeout must be from 0"),
        ("web_server", {"startup_timeout": True}, "startup_timeout must be from 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    name: str, settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InvalidError, match=complaint):
        decorator(name, **settings)


@pytest.mark.parametrize("port", [0, 65536, "8000", True])
def test_a_port_that_is_none_is_refused(port: Any) -> None:
    with pytest.raises(InvalidError, match="port must be from 1 to 65535"):
        volant.web_server(port)


def test_retries_and_batches_do_not_fit() -> None:
    with pytest.raises(InvalidError, match="cannot have retries"):
        function(decorator("asgi_app")(fresh(plain)), retries=2)
    batched = volant.batched(max_batch_size=2, wait_ms=1)(fresh(plain))
    with pytest.raises(InvalidError, match=r"cannot have @volant\.batched"):
        function(decorator("asgi_app")(batched))

    class Model:
        @volant.asgi_app()
        def web(self) -> None: ...

    with pytest.raises(InvalidError, match="`Model` answers to the web and cannot have retries"):
        cls(Model, retries=1)


def test_methods_answer_without_another_decorator() -> None:
    class Model:
        size: int = volant.parameter(default=1)

        @volant.wsgi_app()
        def web(self) -> None: ...

    made: Any = cls(Model)
    [described] = made._function.to_wire("m", 0)["methods"]
    assert described["web"]["kind"] == "wsgi"
    assert made._function._options["has_exit"] is True
    assert made().web.local() is None
    for instance in (made(), made(size=2)):
        with pytest.raises(ExecutionError, match="does not run"):
            instance.web.get_web_url()


@pytest.mark.parametrize("name", DECORATORS)
@pytest.mark.parametrize("form", ["remote", "spawn", "remote_gen", "map", "for_each"])
def test_what_cannot_be_called_says_how_it_is_reached(name: str, form: str) -> None:
    """Behaviour 16: in both forms, and `webhook` is in the text; `.local()` works."""
    made = function(decorator(name)(fresh(seven)))
    for call in (getattr(made, form), getattr(made, form).aio):
        with pytest.raises(
            InvalidError, match=rf"webhook.* cannot be called with \.{form}\(\)"
        ) as refused:
            call()
        assert "`seven.local(...)`" in (refused.value.hint or "")
    assert made.local() == 7
