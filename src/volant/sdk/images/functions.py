"""Functions that run while an image is built: what their step's key is made of, and their call.

    source + defaults + values of the globals it uses, and those of functions that it uses
           + arguments                                  ─► digest, part of the step
    arguments (and the function itself, if no file has it) ─► pickle, sent beside the steps

Pickles differ from run to run (the order of sets, what is shared), so the digest is taken from the
values themselves. Of what cannot be taken apart, such as a lock, only the type counts.
"""

from __future__ import annotations

import sys
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType

from volant.errors import InvalidError, SerializationError
from volant.sdk.sources import entry_of, is_local, sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from volant.sdk.images.local import Gathered

_PLAIN = (type(None), bool, int, float, complex, str)
_GENERATOR_FLAGS, _COROUTINE_FLAG = 0x20 | 0x200, 0x80


class BuildCall:
    """A call of a function in a build; described when an app runs.

    Args:
        raw: a plain function of a module.
        args: its arguments.
        kwargs: the same, by name.
        options: what the call needs and the key does not, as plain values.
        brings_source: whether the file that defines the function is sent.

    Raises:
        InvalidError: for a lambda, a nested function, a method, a generator function, or what is
            no function at all.
    """

    __slots__ = ("args", "brings_source", "kwargs", "options", "raw")

    def __init__(
        self,
        raw: Callable[..., Any],
        args: tuple[object, ...],
        kwargs: dict[str, object],
        options: dict[str, object],
        *,
        brings_source: bool,
    ) -> None:
        _check(raw)
        self.raw = raw
        self.args = args
        self.kwargs = kwargs
        self.options = options
        self.brings_source = brings_source

    @property
    def is_async(self) -> bool:
        """Whether it has to be awaited."""
        code: CodeType = self.raw.__code__
        return bool(code.co_flags & _COROUTINE_FLAG)

    def read(self, gathered: Gathered) -> str:
        """The digest of source, arguments and used values, for the wire."""
        digest = _Marks().of(("function", self.raw, self.args, self.kwargs)).hex()
        carried = self.raw if _module_of(self.raw) is None else None
        payload = gathered.add_bytes(self._pickled(carried))
        gathered.calls[digest] = {**self.options, "payload": payload}
        return digest

    def _pickled(self, carried: object) -> bytes:
        from volant.wire.payloads import dumps_by_value

        try:
            return dumps_by_value((carried, self.args, self.kwargs))
        except Exception as error:
            raise SerializationError(
                f"run_function: the arguments of `{self.raw.__name__}` cannot be pickled: {error}",
                hint="pass plain values, such as paths, and open things inside the function",
            ) from error


class ModuleName:
    """What the module of a function is called in a container; found when an app runs."""

    __slots__ = ("raw",)

    def __init__(self, raw: Callable[..., Any]) -> None:
        self.raw = raw

    def read(self, gathered: Gathered) -> str | None:
        """The name for the wire, None when the function itself is sent."""
        return _module_of(self.raw)


def _module_of(raw: Callable[..., Any]) -> str | None:
    module = sys.modules.get(raw.__module__)
    if raw.__module__ != "__main__" or module is None:
        return raw.__module__
    if getattr(module, "__file__", None) in (None, "<stdin>"):
        return None
    return entry_of(module).module


def _check(raw: Any) -> None:
    hint = "define it with `def` at the top of a module"
    name = getattr(raw, "__qualname__", None)
    if not isinstance(raw, FunctionType):
        plain = getattr(raw, "_raw", None)
        raise InvalidError(
            f"run_function needs a plain function, got {raw!r}",
            hint=hint if plain is None else "give it the function without @app.function",
        )
    if raw.__name__ == "<lambda>":
        raise InvalidError(
            "run_function cannot run a lambda: its source is not told apart from the line it is in",
            hint=hint,
        )
    if name is None or "." in name:
        raise InvalidError(
            f"run_function: `{name}` is not in global scope, so a build could not import it",
            hint=hint,
        )
    if raw.__code__.co_flags & _GENERATOR_FLAGS:
        raise InvalidError(f"run_function: `{name}` is a generator function", hint=hint)


class _Marks:
    """Digests of values, the same in every process for the same values."""

    def __init__(self) -> None:
        #: id -> (the value, kept so that its id stays its own; its digest)
        self._done: dict[int, tuple[object, bytes]] = {}

    def of(self, value: object) -> bytes:
        """The digest of a value of any kind."""
        if isinstance(value, _PLAIN):
            return _digest(type(value).__name__, [repr(value).encode("utf-8", "surrogatepass")])
        if isinstance(value, (bytes, bytearray, memoryview)):
            return _digest(type(value).__name__, [bytes(value)])
        known = self._done.get(id(value))
        if known is not None:
            return known[1]
        self._done[id(value)] = value, b"a value that contains itself"
        digest = self._of_parts(value)
        self._done[id(value)] = value, digest
        return digest

    def _of_parts(self, value: Any) -> bytes:
        name = _type_name(type(value))
        if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
            return _digest(name, map(self.of, value))
        if type(value) is dict:
            return _digest(name, self._sorted_items(value))
        if type(value) in (set, frozenset):
            return _digest(name, sorted(map(self.of, value)))
        if isinstance(value, ModuleType):
            return _digest(name, [value.__name__.encode()])
        if isinstance(value, (FunctionType, type)):
            return self._of_definition(value)
        if isinstance(value, BuiltinFunctionType) or name.startswith("volant."):
            return _digest(name, [str(getattr(value, "__qualname__", "")).encode()])
        try:
            reduced = value.__reduce_ex__(4)
        except Exception:  # noqa: BLE001 - a user's class may refuse in any way it likes
            return _digest(name, [])
        if isinstance(reduced, str):
            wrapped = getattr(value, "__wrapped__", None)  # as `functools.cache` leaves it
            return _digest(name, [reduced.encode(), self.of(wrapped)])
        function, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
        parts = (function, arguments, state, list(items or ()), dict(pairs or ()))
        return _digest(name, map(self.of, parts))

    def _sorted_items(self, value: dict[object, object]) -> list[bytes]:
        return sorted(self.of(key) + self.of(item) for key, item in value.items())

    def _of_definition(self, value: Any) -> bytes:
        """A function or a class: its source if it is the user's own, else its name."""
        name = f"{value.__module__}.{value.__qualname__}"
        module = sys.modules.get(value.__module__)
        file = getattr(module, "__file__", None)
        if module is None or (file is not None and not is_local(file)) or _is_frozen(value):
            return _digest("defined elsewhere", [name.encode()])
        used: dict[str, object] = {}
        for function in [value] if isinstance(value, FunctionType) else vars(value).values():
            if isinstance(function, FunctionType):
                used.update(_used_globals(function))
        # Names of the modules differ: what a file defines is `__main__.x` when it is run.
        return _digest("defined", [
            value.__qualname__.encode(), _source(value).encode(), self.of(used),
            self.of(getattr(value, "__defaults__", None)),
            self.of(getattr(value, "__kwdefaults__", None)),
            *(self._of_cell(cell) for cell in getattr(value, "__closure__", None) or ()),
        ])  # fmt: skip

    def _of_cell(self, cell: Any) -> bytes:
        try:
            return self.of(cell.cell_contents)
        except ValueError:  # nothing was put into it yet
            return b""


def _digest(kind: str, parts: Iterable[bytes]) -> bytes:
    digest = sha256(kind.encode())
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    result: bytes = digest.digest()
    return result


def _type_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _is_frozen(value: Any) -> bool:
    """True for what the interpreter itself brings, whose module may have no file."""
    return value.__module__ in sys.builtin_module_names or value.__module__ == "builtins"


def _source(value: Any) -> str:
    import inspect
    import textwrap

    try:
        return textwrap.dedent(inspect.getsource(value))
    except (OSError, TypeError) as error:
        if isinstance(value, type):
            return ""
        raise InvalidError(
            f"run_function: the source of `{value.__qualname__}` cannot be found",
            hint="put it into a file, so that a change of it can be noticed",
        ) from error


def _used_globals(function: FunctionType) -> dict[str, object]:
    """Name -> value of the globals that a function's code reads, nested functions included."""
    import dis

    found: dict[str, object] = {}
    waiting = [function.__code__]
    while waiting:
        code = waiting.pop()
        waiting += [part for part in code.co_consts if isinstance(part, CodeType)]
        for step in dis.get_instructions(code):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") and step.argval in function.__globals__:
                found[step.argval] = function.__globals__[step.argval]
    return found
