"""What `@app.cls(...)` does to a class: checked, made a `Cls`, and added to its app."""

from __future__ import annotations

from volant.errors import InvalidError
from volant.sdk.classes import marks
from volant.sdk.classes.handles import ClassFunction, Cls
from volant.sdk.classes.marks import Method
from volant.sdk.decorating import lives_in_interactive_session, single_use
from volant.sdk.function import BATCHED_MARK, CONCURRENT_MARK, Function
from volant.sdk.naming import check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn, TypeVar

    from volant.sdk.app import App

    T = TypeVar("T")


class ClassDecorator:
    """What `@app.cls(...)` returns; applied to a class it makes a `Cls`.

    Type checkers see the class itself; that its constructor takes its parameters they know from
    `App.cls`.
    """

    def __init__(self, app: App, positional: object, settings: Mapping[str, Any]) -> None:
        if positional is not None:
            _refuse_positional(positional)
        if settings.get("schedule") is not None:
            raise InvalidError(
                "a class cannot have a schedule",
                hint="give it to a function that calls one of the methods",
            )
        self._app = app
        if single_use(settings.get("max_inputs"), stacklevel=4):
            settings = {**settings, "max_inputs": None, "single_use_containers": True}
        # The keywords are those of a function, and so are the checks.
        self._settings = app.function(**settings)._settings

    def __call__(self, user_cls: type[T]) -> type[T]:
        """Make a `Cls` of a class.

        Raises:
            InvalidError: for a class whose methods, hooks or parameters make no sense.
        """
        settings, app = self._settings, self._app
        _check_class(user_cls, settings["serialized"])
        marks.adopt(user_cls)
        cls = Cls(user_cls)
        cls._function = ClassFunction(
            cls, app=app,
            options=_options(cls, settings["options"], holds_gpu=settings["holds_gpu"]),
            image=settings["image"] or app._image,
            serialized=settings["serialized"] or lives_in_interactive_session(user_cls),
            include_source=app._include_source if settings["include_source"] is None
            else settings["include_source"],
        )  # fmt: skip
        app._register(cls._function)
        made: Any = cls
        return made  # type: ignore[no-any-return]  # it stands for the class


def _refuse_positional(value: object) -> NoReturn:
    """Say how `@app.cls` is written."""
    from volant.sdk.images.image import Image

    if isinstance(value, Image):
        raise InvalidError(
            "@app.cls takes no positional arguments, but cls(image=image)",
            hint="write @app.cls(image=image)",
        )
    raise InvalidError("@app.cls needs parentheses: @app.cls()", hint="write @app.cls()")


def _options(cls: Cls, options: dict[str, object], *, holds_gpu: bool) -> dict[str, object]:
    """The options of a class, with what its marks and hooks say."""
    user_cls, name = cls._user_cls, cls.__name__
    has_snapshot = bool(marks.hooks_of(user_cls, marks.ENTER_SNAP))
    if has_snapshot and not options["snapshot"]:
        raise InvalidError(
            f"class `{name}` has @volant.enter(snap=True), and no template to run it in",
            hint="write @app.cls(enable_memory_snapshot=True)",
        )
    if options["min_containers"] and cls._parameters.required:
        raise InvalidError(
            f"class `{name}` cannot have min_containers={options['min_containers']}: which "
            f"`{cls._parameters.required[0]}` they should have is not known",
            hint="give every parameter a default",
        )
    has_exit = bool(marks.hooks_of(user_cls, marks.EXIT))
    options = {**options, "has_exit": has_exit, "snapshot": has_snapshot and not holds_gpu}
    streams = any(one.is_generator for one in cls._methods.values())
    if hasattr(user_cls, CONCURRENT_MARK):
        from volant.sdk.inputs.concurrency import with_marks

        options = with_marks(user_cls, options)
    grouped = [one.raw for one in cls._methods.values() if hasattr(one.raw, BATCHED_MARK)]
    if grouped:
        from volant.sdk.inputs.batching import with_batch

        if len(cls._methods) > 1:
            raise InvalidError(
                f"class `{name}` has the batched method `{grouped[0].__name__}` and others",
                hint="a batched method is the only one of its class",
            )
        options = with_batch(grouped[0], options)
    answering = [one.raw for one in cls._methods.values() if one.web is not None]
    if answering:
        from volant.sdk.web.forms import with_web

        options = with_web(name, answering, options)
    retries: Any = options["retries"]
    if streams and retries["max_retries"]:
        raise InvalidError(
            f"class `{name}` has a generator method and cannot have retries",
            hint="values that were yielded already cannot be taken back",
        )
    return options


def _check_class(user_cls: Any, serialized: bool) -> None:
    if isinstance(user_cls, Cls):
        raise InvalidError(f"`{user_cls.__name__}` is decorated with @app.cls already")
    if not isinstance(user_cls, type):
        name = user_cls.name if isinstance(user_cls, Function) else repr(user_cls)
        raise InvalidError(
            f"@app.cls needs a class, got {name}", hint="use @app.function() for functions"
        )
    check_name("a class", user_cls.__name__)
    if "<locals>" in user_cls.__qualname__ and not serialized:
        raise InvalidError(
            f"class `{user_cls.__qualname__}` is not in global scope, so a container could not "
            "import it",
            hint="move it to the top of its module, or use @app.cls(serialized=True)",
        )
    members = marks.members_of(user_cls)
    if not any(isinstance(one, Method) or marks.is_adopted(one) for one in members.values()):
        raise InvalidError(
            f"class `{user_cls.__name__}` has no method that could be called remotely",
            hint="write @volant.method() above one",
        )
    for name, one in members.items():
        marked = one.raw if isinstance(one, Method) else one
        if hasattr(marked, CONCURRENT_MARK) and not name.startswith("__"):
            raise InvalidError(
                f"@volant.concurrent goes on the class, not on its method `{name}`",
                hint=f"write it between @app.cls() and class {user_cls.__name__}",
            )
        if isinstance(one, Function):
            raise InvalidError(
                f"`{user_cls.__name__}.{name}` is decorated with @app.function",
                hint="decorate methods with @volant.method()",
            )
