"""How a function that answers to the web is reached: by its address, and by no call."""

from __future__ import annotations

from volant.errors import Error, InvalidError
from volant.sdk.classes.handles import BoundMethod
from volant.sdk.classes.marks import FORMS
from volant.sdk.function import Function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


class _Refused:
    """A form of call in the place of which there are requests; says so when it is called."""

    __slots__ = ("_form", "_function")

    def __init__(self, function: Function[..., Any, Any], form: str) -> None:
        self._function = function
        self._form = form

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        function = self._function
        try:
            url = function.get_web_url()
        except Error:  # its app does not run
            url = None
        raise refusal(
            function.name, self._form, url,
            f", or run it right here with `{function.name}.local(...)`",
        )  # fmt: skip

    aio = __call__


def refusal(name: str, form: str, url: str | None, otherwise: str = "") -> InvalidError:
    """What is said of a call in the place of which there are requests.

    Args:
        name: of the function.
        form: how it was called.
        url: where it answers, None if that is not known.
        otherwise: what else can be done.
    """
    reached = f"send requests to {url}" if url else "send requests to its `get_web_url()`"
    return InvalidError(
        f"`{name}` answers to the web, as a webhook, and cannot be called with .{form}()",
        hint=f"{reached}{otherwise}",
    )


class WebFunction(Function[..., "Any", "Any"]):
    """A function that answers to the web."""


class WebMethod(BoundMethod):
    """A method of an object that answers to the web."""


def _refusing(form: str) -> property:
    return property(lambda function: _Refused(function, form))


for _form in (*FORMS, "experimental_spawn_map"):
    setattr(WebFunction, _form, _refusing(_form))
    setattr(WebMethod, _form, _refusing(_form))
