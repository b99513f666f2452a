"""Pools of a function or class with other options, or of a class with parameters.

The hub keeps one pool for each distinct set of options and parameters, so who asks for the same
shares its containers, in whatever process. A client gives a pool a number of its own and tells the
hub what it means, ahead of the first call; nothing waits for that.
"""

from __future__ import annotations

from volant.sdk.calls.calling import Binding
from volant.sdk.function import Function
from volant.sdk.generics import P, R, Raw
from volant.sdk.options import on_wire
from volant.wire import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Variant:
    """One pool beside that of the function itself, as this client has told the hub of it."""

    __slots__ = ("base", "binding", "express", "options", "parameters")

    def __init__(self, base: Binding, options: Mapping[str, object], parameters: bytes) -> None:
        channel = base.channel
        number = channel.lane_tokens.next_functions(1)
        self.base = base
        self.options = options
        self.parameters = parameters
        self.express = channel.lane_tokens.make(number, 1)
        self.binding = Binding(channel, number, base.name, base.local_path)

    def tell(self) -> None:
        """Tell the hub what the number means."""
        self.base.channel.tell(
            "variant", base=self.base.number, number=self.binding.number, options=self.options,
            parameters=self.parameters, express=self.express,
        )  # fmt: skip


def variant_of(base: Binding, options: Mapping[str, object], parameters: bytes) -> Binding:
    """Where calls of the pool with these options and parameters go.

    Args:
        base: that of the function or class itself.
        options: what is different, as control messages carry options; empty for nothing.
        parameters: of a class, as `Parameters.encode` gives them.
    """
    if not options and not parameters:
        return base
    options = on_wire(dict(options), base.environment)
    key = values.encode([dict(sorted(options.items())), parameters])
    found = base.variants.get(key)
    if found is None:
        found = base.variants[key] = Variant(base, options, parameters)
        found.tell()
    return found.binding


class FunctionVariant(Function[P, R, Raw]):
    """A function with other options, in a pool of its own."""

    _plain: Function[P, R, Raw]
    _changes: dict[str, object]

    def __init__(self, base: Function[P, R, Raw], options: dict[str, object]) -> None:
        """`options`: what is different, as control messages carry it."""
        plain, before = base, {}
        if isinstance(base, FunctionVariant):
            plain, before = base._plain, base._changes
        super().__init__(
            plain._raw, app=plain.app, name=plain.name, options={**plain._options, **options},
            image=plain._image, serialized=plain._serialized, is_async=plain.is_async,
            is_generator=plain.is_generator, include_source=plain._include_source,
        )  # fmt: skip
        self._plain = plain
        self._changes = {**before, **options}

    def __reduce__(self) -> tuple[object, ...]:
        return FunctionVariant, (self._plain, self._changes)

    def _bound(self) -> Binding:
        return variant_of(self._plain._bound(), self._changes, b"")
