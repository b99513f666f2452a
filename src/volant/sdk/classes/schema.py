"""The parameters of a class, told to those who do not have the class: what they take, as bytes.

A kind is a text for a plain type, the names of an enum's members, or the fields of a dataclass:

    "int"    ["enum", ["RED", "GREEN"]]    ["dataclass", [["x", kind, has default, default], ...]]
"""

from __future__ import annotations

from volant.errors import InvalidError
from volant.sdk.classes import parameters as own
from volant.wire import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PLAIN = {kind.__name__: kind for kind in (str, int, bool, bytes, float)}


def described(parameters: own.Parameters) -> bytes:
    """What `KnownParameters` needs of a class."""
    defaults = parameters.encoded_defaults
    return values.encode({
        "constructor": parameters.has_constructor,
        "parameters": [
            [name, _kind(kind), name in defaults, defaults.get(name)]
            for name, kind, _ in parameters.described()
        ],
    })  # fmt: skip


def _kind(kind: Any) -> Any:
    if kind in _PLAIN.values():
        return kind.__name__
    if own.is_enum(kind):
        return ["enum", list(kind.__members__)]
    fields = [
        [field.name, _kind(own.resolved(field.type, kind, field.name))]
        for field in kind.__dataclass_fields__.values()
    ]
    return ["dataclass", fields]


class KnownParameters:
    """The parameters of a class that is not here.

    Enums are given by a member, of an equal enum, or its name; dataclasses by an instance of one
    with equal fields, or as a dict.
    """

    def __init__(self, class_name: str, schema: bytes) -> None:
        self._class_name = class_name
        known: dict[str, Any] = values.decode_map(schema)
        self._has_constructor = known["constructor"]
        self._parameters = {name: rest for name, *rest in known["parameters"]}

    def encode(self, args: tuple[object, ...], kwargs: dict[str, object]) -> bytes:
        """A set of values as bytes, the same that `Parameters.encode` gives.

        Raises:
            InvalidError: for what the class does not take, or lacks.
        """
        if self._has_constructor:
            return own.sized(self._class_name, own.pickled(self._class_name, args, kwargs))
        form = ", ".join(f"{name}=..." for name in self._parameters)
        hint = f"write {self._class_name}({form})"
        if args:
            text = f"`{self._class_name}(...)` takes keywords only, got {args[0]!r}"
            raise InvalidError(text, hint=hint)
        for name in kwargs:
            if name not in self._parameters:
                text = f"class `{self._class_name}` has no parameter `{name}`"
                raise InvalidError(text, hint=hint)
        found: dict[str, object] = {}
        for name in sorted(self._parameters):
            kind, has_default, default = self._parameters[name]
            if name in kwargs:
                encoded = _encode(kind, kwargs[name], f"`{name}`")
                if not has_default or encoded != default:
                    found[name] = encoded
            elif not has_default:
                text = f"`{self._class_name}(...)` lacks the parameter `{name}`"
                raise InvalidError(text, hint=hint)
        data = own.VALUES + values.encode(found) if found else b""
        return own.sized(self._class_name, data)


def _encode(kind: Any, value: Any, what: str) -> object:
    if isinstance(kind, str):
        return own.encode_value(_PLAIN[kind], value, what)
    form, parts = kind
    if form == "enum":
        name = value if isinstance(value, str) else getattr(value, "name", None)
        if name not in parts:
            raise InvalidError(f"{what} must be one of {', '.join(parts)}, got {value!r}")
        return name
    return {name: _encode(inner, _field(value, name, what), f"{what}, `{name}`,")
            for name, inner in parts}  # fmt: skip


def _field(value: Any, name: str, what: str) -> Any:
    try:
        return value[name] if isinstance(value, dict) else getattr(value, name)
    except (KeyError, AttributeError):
        raise InvalidError(f"{what} lacks the field `{name}`: {value!r}") from None
