"""Methods of classes as targets: their options, and the parameters of their class as options too.

volant run file.py::Model.ask --size 4 --question "..."
"""

from __future__ import annotations

import functools
import inspect

from volant.cli import parameters
from volant.cli.failures import Refused
from volant.sdk.classes.parameters import REQUIRED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from volant.sdk.app import App
    from volant.sdk.classes.handles import ClassFunction, Cls


class MethodCall:
    """What runs a method on an object that is made of the same command line."""

    def __init__(self, function: ClassFunction, method: str) -> None:
        cls = function.cls
        self.of_class = function
        self._cls = cls
        self._method = method
        self._raw = self._stand_in(cls, method)
        self.name = f"{function.name}.{method}"
        self.is_generator = cls._methods[method].is_generator

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Call it in a container and wait."""
        return self._bound(kwargs).remote(*args, **kwargs)

    def remote_gen(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Iterate over its values as they are produced."""
        values: Iterator[Any] = self._bound(kwargs).remote_gen(*args, **kwargs)
        return values

    def _bound(self, kwargs: dict[str, Any]) -> Any:
        given = {name: kwargs.pop(name) for name in self._of_class if name in kwargs}
        return getattr(self._cls(**given), self._method)

    def _stand_in(self, cls: Cls, method: str) -> Any:
        """What has the parameters of the class and of the method, for the options."""
        raw = cls._methods[method].raw
        own = _without_self(raw)
        of_class = _of_constructor(cls)
        self._of_class = [parameter.name for parameter in of_class]
        for parameter in own:
            if parameter.name in self._of_class:
                raise Refused(
                    f"`{parameter.name}` is a parameter of `{cls.__name__}` and of its method "
                    f"`{method}`, so `--{parameter.name}` would mean both",
                    hint="rename one of them, or call it from a local entrypoint",
                )
        stand_in: Any = functools.partial(raw)
        stand_in.__doc__ = raw.__doc__
        stand_in.__signature__ = inspect.Signature(sorted([*own, *of_class], key=_order))
        return stand_in


def _without_self(raw: Any) -> list[inspect.Parameter]:
    return list(parameters.signature_of(raw).parameters.values())[1:]


def _of_constructor(cls: Cls) -> list[inspect.Parameter]:
    """Those that can be options; others keep their defaults."""
    if cls._parameters.has_constructor:
        return _without_self(cls._user_cls.__init__)  # type: ignore[misc]  # its own, not object's
    found = []
    for name, kind, default in cls._parameters.described():
        has_default = default is not REQUIRED
        if has_default and not parameters.can_be_option(kind):
            continue
        found.append(inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, annotation=kind,
            default=default if has_default else inspect.Parameter.empty,
        ))  # fmt: skip
    return found


def _order(parameter: inspect.Parameter) -> tuple[int, bool]:
    return parameter.kind, parameter.default is not parameter.empty


def method_of(apps: list[App], name: str) -> tuple[App, MethodCall] | None:
    """The method that `Class.method` means in some apps."""
    from volant.sdk.classes.handles import ClassFunction

    class_name, _, method = name.rpartition(".")
    for app in apps:
        function = app._functions.get(class_name)
        if isinstance(function, ClassFunction) and method in function.cls._methods:
            return app, MethodCall(function, method)
    return None
