"""What decorators leave inside a user's class, and how it is found again.

    @app.cls()
    class Model:
        @volant.enter()    def load(self): ...           hook: a mark on the plain function
        @volant.method()   def answer(self, x): ...      method: a descriptor in its place
        @volant.exit()     def close(self): ...

A hook stays a plain function, so that `super().load()` works. A method has to be more: inside
the class, `self.answer` has `.remote` and `.local` like a function of an app.
"""

from __future__ import annotations

from volant.errors import InvalidError
from volant.sdk.function import BATCHED_MARK, WEB_MARK
from volant.sdk.generics import Generic, P, R, Raw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from typing import Any, Concatenate, Protocol, TypeVar, overload

    from volant.sdk.function import Function

    F = TypeVar("F", bound=Callable[..., object])
    S = TypeVar("S")
    Y = TypeVar("Y")

#: What a hook's plain function carries: one of the kinds below.
HOOK_MARK = "__volant_hook__"
#: Kinds of hook: in the template of a snapshot, at the start of a container, at its end.
ENTER_SNAP, ENTER, EXIT = "enter(snap=True)", "enter", "exit"
#: Where an instance keeps the handle that its methods' `.remote` goes through.
HANDLE_KEY = "__volant_handle__"
#: How what runs in containers is called.
FORMS = frozenset({"remote", "remote_gen", "spawn", "map", "starmap", "for_each", "spawn_map"})
#: Bits of code.co_flags: what `inspect` would tell at the price of importing it.
_GENERATOR, _COROUTINE, _ASYNC_GENERATOR = 0x20, 0x80, 0x200


class Method(Generic[P, R, Raw]):
    """A method that can be called remotely, in the place of the plain function in its class."""

    def __init__(self, raw: Callable[..., Any], is_generator: bool | None = None) -> None:
        flags = getattr(getattr(raw, "__code__", None), "co_flags", 0)
        self.raw = raw
        #: How it answers to the web, as a control message carries it; None for one that does not.
        self.web: dict[str, object] | None = getattr(raw, WEB_MARK, None)
        self.is_async = bool(flags & (_COROUTINE | _ASYNC_GENERATOR))
        self.is_generator = (
            bool(flags & (_GENERATOR | _ASYNC_GENERATOR)) if is_generator is None else is_generator
        )
        self.__name__ = raw.__name__
        self.__doc__ = raw.__doc__
        self.__wrapped__ = raw

    if TYPE_CHECKING:

        def __get__(self, instance: object, owner: type) -> Function[P, R, Raw]: ...

    else:

        def __get__(self, instance: object, owner: type) -> Any:
            if instance is None:
                return self
            handle, name = vars(instance).get(HANDLE_KEY), self.__name__
            if handle is None or handle._cls._methods.get(name) is not self:
                return PlainMethod(self.raw.__get__(instance, owner))
            return handle._method(name)


class PlainMethod:
    """A method that only runs here.

    Its instance was made by a class without `@app.cls()`, or it was reached by `super()` and is not
    what callers get.
    """

    def __init__(self, bound: Callable[..., Any]) -> None:
        self.local = bound

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self.local(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name in FORMS:
            raise AttributeError(
                f"`{self.local.__qualname__}` can only be called here, so it has no `.{name}`\n"
                "hint: the class needs @app.cls(); through super() there is only `.local`"
            )
        return getattr(self.local, name)


if TYPE_CHECKING:

    class MethodDecorator(Protocol):
        """What `@volant.method()` returns."""

        @overload
        def __call__(
            self, raw: Callable[Concatenate[S, P], Coroutine[Any, Any, R]]
        ) -> Method[P, R, Coroutine[Any, Any, R]]: ...
        @overload
        def __call__(
            self, raw: Callable[Concatenate[S, P], AsyncIterator[Y]]
        ) -> Method[P, Y, AsyncIterator[Y]]: ...
        @overload
        def __call__(
            self, raw: Callable[Concatenate[S, P], Iterator[Y]]
        ) -> Method[P, Y, Iterator[Y]]: ...
        @overload
        def __call__(self, raw: Callable[Concatenate[S, P], R]) -> Method[P, R, R]: ...


def method(_positional: None = None, *, is_generator: bool | None = None) -> MethodDecorator:
    """Make a method of an `@app.cls()` class callable remotely: `obj.name.remote(...)`.

    Args:
        is_generator: whether it yields; found out by default.

    Raises:
        InvalidError: without parentheses, and on what is no plain function.
    """
    _refuse_positional("method", _positional)

    def decorate(raw: Any) -> Any:
        _check_plain("method", raw)
        return Method(raw, is_generator)

    return decorate


def enter(_positional: None = None, *, snap: bool = False) -> Callable[[F], F]:
    """Run a method of an `@app.cls()` class once at the start of each container.

    Args:
        snap: run it in the template that containers are forked from, once for all of them. The
            class needs `enable_memory_snapshot=True`.

    Raises:
        InvalidError: without parentheses, and on what is no plain function.
    """
    _refuse_positional("enter", _positional)
    return _hook("enter", ENTER_SNAP if snap else ENTER)


def exit(_positional: None = None) -> Callable[[F], F]:  # noqa: A001  # the name of the model
    """Run a method of an `@app.cls()` class at the end of each container, for at most 30 s.

    Raises:
        InvalidError: without parentheses, and on what is no plain function.
    """
    _refuse_positional("exit", _positional)
    return _hook("exit", EXIT)


def _hook(name: str, kind: str) -> Callable[[F], F]:
    def decorate(raw: F) -> F:
        _check_plain(name, raw)
        code: Any = getattr(raw, "__code__")  # noqa: B009  # `_check_plain` has seen it
        needed = code.co_argcount - len(getattr(raw, "__defaults__") or ())  # noqa: B009  # as well
        if needed > 1:
            raise InvalidError(
                f"hook `{raw.__name__}` has parameters beside `self`, and nobody to pass them",
                hint="make them parameters of the class: `name: str = volant.parameter()`",
            )
        setattr(raw, HOOK_MARK, kind)
        return raw

    return decorate


def _refuse_positional(name: str, value: object) -> None:
    if value is not None:
        raise InvalidError(
            f"@volant.{name} needs parentheses: @volant.{name}()", hint=f"write @volant.{name}()"
        )


def _check_plain(name: str, raw: Any) -> None:
    if isinstance(raw, Method) or getattr(raw, HOOK_MARK, None) is not None:
        raise InvalidError(
            f"`{raw.__name__}` has a decorator of a life cycle already, and @volant.{name} "
            "cannot be stacked on it",
            hint="use one of @volant.method(), @volant.enter() and @volant.exit() for each method",
        )
    if hasattr(raw, WEB_MARK):
        raise InvalidError(
            f"`{raw.__name__}` answers to the web, and @volant.{name} cannot be stacked on that",
            hint=f"drop @volant.{name}()",
        )
    if isinstance(raw, type) or not hasattr(raw, "__code__"):
        raise InvalidError(
            f"@volant.{name} needs a method of a class, got {raw!r}",
            hint=f"write @volant.{name}() right above a `def` in an @app.cls() class",
        )


def members_of(user_cls: type) -> dict[str, Any]:
    """Everything that a class and its bases define, by name; bases first, the last one wins."""
    found: dict[str, Any] = {}
    for cls in reversed(user_cls.__mro__):
        found.update(vars(cls))
    return found


def methods_of(user_cls: type) -> dict[str, Method[..., Any, Any]]:
    """The methods that can be called remotely, in order of definition."""
    return {name: one for name, one in members_of(user_cls).items() if isinstance(one, Method)}


def is_adopted(member: object) -> bool:
    """Whether a plain function is a method by a mark alone, of `@volant.batched` or for the web."""
    is_marked = hasattr(member, BATCHED_MARK) or hasattr(member, WEB_MARK)
    return is_marked and not isinstance(member, (Method, type))


def adopt(user_cls: type) -> None:
    """Make methods of plain functions that are such by a mark alone."""
    for name, one in members_of(user_cls).items():
        if is_adopted(one):
            setattr(user_cls, name, Method(one))


def hooks_of(user_cls: type, kind: str) -> list[Callable[..., Any]]:
    """The hooks of one kind, those of base classes first."""
    members = members_of(user_cls).values()
    return [one for one in members if getattr(one, HOOK_MARK, None) == kind]
