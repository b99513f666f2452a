"""Parameters of a class: `size: int = volant.parameter(default=4)`, and their values as bytes.

Every distinct set of values has a pool of its own, so equal sets must be equal bytes: values are
written in the order of their names, as plain values that the annotation gives their meaning back,
and defaults are left out. Nothing is pickled but the arguments of a constructor of the user's own.
"""

from __future__ import annotations

import sys

from volant.errors import InvalidError
from volant.wire import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Bytes of one set of parameters.
PARAMETERS_BYTES_MAX = 16 << 10
_PLAIN = (str, int, bool, bytes, float)
_KINDS = "str, int, bool, bytes, float, an enum, or a dataclass of these"
#: First byte of what `encode` and `encode_arguments` return.
VALUES, _PICKLED = b"V", b"P"


class Parameter:
    """What `volant.parameter` leaves in a class; instances have the value instead."""

    def __init__(self, default: object, init: bool) -> None:
        self.default = default
        self.init = init


class _Required:
    """The one value that stands for no default; in a class that travels by value it stays that."""

    def __reduce__(self) -> str:
        return "REQUIRED"


#: No default: the parameter has to be given.
REQUIRED: object = _Required()


def parameter(_positional: None = None, *, default: Any = REQUIRED, init: bool = True) -> Any:
    """Make an annotated attribute of an `@app.cls()` class a parameter of its constructor.

    Args:
        default: what it is when it is not given; without one it has to be.
        init: whether the constructor takes it; without, it always has its default.

    Raises:
        InvalidError: with `init=False` and no default, and for a default without its name.
    """
    if _positional is not None:
        raise InvalidError(
            "volant.parameter takes keywords only",
            hint=f"write volant.parameter(default={_positional!r})",
        )
    if not init and default is REQUIRED:
        raise InvalidError("a parameter with init=False needs a default", hint="add default=...")
    return Parameter(default, init)


class Parameters:
    """The parameters of one class, those of its bases included.

    Raises:
        InvalidError: for one without an annotation, or with a type that cannot be one.
    """

    def __init__(self, user_cls: type) -> None:
        self._class_name = user_cls.__name__
        self._kinds: dict[str, type] = {}
        self._parameters: dict[str, Parameter] = {}
        for cls in reversed(user_cls.__mro__):
            for name, one in vars(cls).items():
                if one is parameter:
                    raise InvalidError(
                        f"parameter `{name}` of class `{cls.__name__}` needs parentheses",
                        hint="write volant.parameter()",
                    )
                if isinstance(one, Parameter):
                    self._kinds[name] = _kind_of(cls, name)
                    self._parameters[name] = one
        constructor: object = getattr(user_cls, "__init__")  # noqa: B009  # of whatever class
        self.has_constructor = constructor is not object.__init__
        if self.has_constructor and self._parameters:
            raise InvalidError(
                f"class `{self._class_name}` has parameters and an __init__ of its own",
                hint="move what __init__ does into a method with @volant.enter()",
            )
        #: Those that there are, as `encode_value` gives them.
        self.encoded_defaults = {
            name: encode_value(self._kinds[name], one.default, f"the default of `{name}`")
            for name, one in self._parameters.items()
            if one.default is not REQUIRED
        }

    @property
    def required(self) -> list[str]:
        """The names of those without a default."""
        return [name for name in self._parameters if name not in self.encoded_defaults]

    def __len__(self) -> int:
        return len(self._parameters)

    def described(self) -> list[tuple[str, type, object]]:
        """Name, type and default (or `REQUIRED`) of those that the constructor takes."""
        return [
            (name, self._kinds[name], one.default)
            for name, one in self._parameters.items()
            if one.init
        ]

    def encode(self, args: tuple[object, ...], kwargs: dict[str, object]) -> bytes:
        """A set of values as bytes, equal for equal sets; b"" for the defaults.

        Raises:
            InvalidError: for what the class does not take, or lacks.
        """
        if self.has_constructor:
            return sized(self._class_name, pickled(self._class_name, args, kwargs))
        if args:
            raise InvalidError(
                f"`{self._class_name}(...)` takes keywords only, got {args[0]!r}",
                hint=self._form(),
            )
        for name in kwargs:
            if name not in self._parameters or not self._parameters[name].init:
                raise InvalidError(
                    f"class `{self._class_name}` has no parameter `{name}`", hint=self._form()
                )
        found: dict[str, object] = {}
        for name in sorted(self._parameters):
            value = kwargs.get(name, self._parameters[name].default)
            if value is REQUIRED:
                raise InvalidError(
                    f"`{self._class_name}(...)` lacks the parameter `{name}`", hint=self._form()
                )
            encoded = encode_value(self._kinds[name], value, f"`{name}`")
            if encoded != self.encoded_defaults.get(name, REQUIRED):
                found[name] = encoded
        return sized(self._class_name, VALUES + values.encode(found)) if found else b""

    def _form(self) -> str:
        given = ", ".join(f"{name}=..." for name, _, _ in self.described())
        return f"write {self._class_name}({given})"

    def apply(self, instance: object, data: bytes) -> None:
        """Give a fresh instance its values, or call its constructor."""
        if data[:1] == _PICKLED:
            import pickle

            args, kwargs = pickle.loads(data[1:])
            type(instance).__init__(instance, *args, **kwargs)
            return
        known = values.decode_map(data[1:]) if data else {}
        for name, one in self._parameters.items():
            value: object = one.default
            if name in known:
                value = _decode(self._kinds[name], known[name])
            elif value is REQUIRED:
                raise InvalidError(f"an instance lacks the parameter `{name}`")
            setattr(instance, name, value)


def pickled(name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> bytes:
    """The arguments of a constructor of the user's own.

    Raises:
        SerializationError: when they cannot be pickled.
    """
    import cloudpickle

    from volant.errors import SerializationError

    try:
        data: bytes = cloudpickle.dumps((args, kwargs), 5)
    except Exception as error:
        raise SerializationError(
            f"an argument of `{name}(...)` cannot be pickled: {error}", hint="pass plain data"
        ) from error
    return _PICKLED + data


def sized(name: str, data: bytes) -> bytes:
    """One set of parameters, unless it is too large.

    Raises:
        InvalidError: when it is.
    """
    if len(data) > PARAMETERS_BYTES_MAX:
        raise InvalidError(
            f"the parameters of `{name}(...)` take {len(data)} bytes, at most "
            f"{PARAMETERS_BYTES_MAX}",
            hint="pass large values to a method, or where to find them",
        )
    return data


def _kind_of(cls: type, name: str) -> type:
    annotations = vars(cls).get("__annotations__")
    if annotations is None:  # evaluated on access, from Python 3.14 on
        annotations = getattr(cls, "__annotations__", {})
    if name not in annotations:
        raise InvalidError(
            f"parameter `{name}` of class `{cls.__name__}` needs an annotation",
            hint=f"write `{name}: int = volant.parameter(...)`",
        )
    return resolved(annotations[name], cls, f"parameter `{name}` of class `{cls.__name__}`")


def resolved(annotation: Any, cls: type, what: str) -> type:
    """The type that an annotation means.

    Raises:
        InvalidError: for one that parameters cannot have.
    """
    if isinstance(annotation, str):
        names = vars(sys.modules.get(cls.__module__, sys))
        try:
            annotation = eval(annotation, dict(names))  # noqa: S307  # the user's own annotation
        except Exception as error:
            raise InvalidError(
                f"the annotation {annotation!r} of {what} cannot be evaluated: {error}",
                hint="import or define the type at the top of the module",
            ) from error
    if annotation in _PLAIN or is_enum(annotation):
        return annotation  # type: ignore[no-any-return]  # one of those types
    if isinstance(annotation, type) and hasattr(annotation, "__dataclass_fields__"):
        for field in annotation.__dataclass_fields__.values():
            resolved(field.type, annotation, f"field `{field.name}` of `{annotation.__name__}`")
        return annotation
    raise InvalidError(f"{what} cannot be of type {annotation!r}", hint=f"it can be {_KINDS}")


def is_enum(kind: object) -> bool:
    """Whether it is an enum."""
    enum = sys.modules.get("enum")  # whoever has one has imported it
    return enum is not None and isinstance(kind, enum.EnumMeta)


def encode_value(kind: Any, value: Any, what: str) -> object:
    """A value of a parameter as a plain one.

    Raises:
        InvalidError: for one of another kind.
    """
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind and not (is_enum(kind) and isinstance(value, kind)):
        raise InvalidError(f"{what} must be {kind.__name__}, got {value!r}")
    if kind is int and not -(1 << 63) <= value < 1 << 64:
        raise InvalidError(f"{what} has more than 64 bits: {value!r}")
    if kind in _PLAIN:
        return value
    if is_enum(kind):
        return value.name
    return {
        field.name: encode_value(
            resolved(field.type, kind, what), getattr(value, field.name), f"{what}, `{field.name}`,"
        )
        for field in kind.__dataclass_fields__.values()
    }


def _decode(kind: Any, data: Any) -> Any:
    if kind in _PLAIN:
        return data
    if is_enum(kind):
        return kind[data]
    fields = kind.__dataclass_fields__.values()
    known = {field.name: _decode(resolved(field.type, kind, ""), data[field.name])
             for field in fields}  # fmt: skip
    return kind(**{field.name: known[field.name] for field in fields if field.init})


def is_parameter(p: object) -> bool:
    """Whether something is what `volant.parameter()` returns."""
    return isinstance(p, Parameter)
