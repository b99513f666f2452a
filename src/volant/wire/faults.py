"""Exceptions as bytes: a user's exception crosses with its type, its chain and its frames.

    container: encode_fault(exc)  ->  map {type, message, text, pickle, frames, cause ...}
    hub:       platform_fault(name, message, hint)        (timeouts, lost containers ...)
    client:    decode_fault(bytes) -> an exception to raise, its traceback made of remote frames

The hub never decodes what a container wrote. Only the client unpickles, and falls back to
`RemoteError` with the remote text when the exception cannot be rebuilt on its side.
"""

from __future__ import annotations

import builtins
import sys

from volant.wire import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, TracebackType
    from typing import Any

#: Longest chain of causes that travels; the rest is cut.
CHAIN_MAX = 8
#: Most frames of one traceback that travel (the innermost ones), those in a row that are alike
#: taken as one; and how often one of these is shown at most.
FRAMES_MAX = 100
REPEATS_MAX = 10_000
#: Longest text of one exception, in characters; a source line or a note is cut far earlier.
TEXT_CHARS_MAX = 64_000
LINE_CHARS_MAX = 2_000
NOTES_MAX = 32
#: Most exceptions of one group that travel.
MEMBERS_MAX = 100
#: Largest pickle of one exception. Beyond, what it carries is data, and only its text travels.
PICKLE_BYTES_MAX = 4 << 20

#: Python 3.10 has no groups.
_GROUP: Any = getattr(builtins, "BaseExceptionGroup", ())


def platform_fault(error: str, message: str, hint: str | None = None) -> bytes:
    """A fault that the platform itself reports; `error` names a class of `volant.errors`."""
    return values.encode({"error": error, "message": message, "hint": hint})


def error_fault(error: Any) -> bytes:
    """A fault that the platform itself reports, of an error of `volant.errors`."""
    fields = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
    image_id = getattr(error, "image_id", None)
    return values.encode(fields if image_id is None else {**fields, "image_id": image_id})


def start_fault(payload: bytes) -> bytes:
    """A fault, marked as that of a container that could not be started."""
    try:
        return values.encode({**values.decode_map(payload), "start": True})
    except ValueError:
        return payload


def is_start_fault(fields: dict[str, Any]) -> bool:
    """Whether a decoded fault is marked so."""
    return fields.get("start") is True


def encode_fault(
    exc: BaseException, *, skip_under: str | None = None, where: str | None = None
) -> bytes:
    """Encode an exception with its chain and frames.

    Args:
        exc: as caught, with its traceback.
        skip_under: frames of files below this directory (our own) are left out.
        where: id of the container, shown as the first remote frame.
    """
    return values.encode({**_describe(exc, skip_under, CHAIN_MAX), "where": where})


def _describe(exc: BaseException, skip_under: str | None, depth: int) -> dict[str, object]:
    frames, repeats = _frames(exc.__traceback__, skip_under)
    fields: dict[str, object] = {
        "type": f"{type(exc).__module__}.{type(exc).__qualname__}",
        "message": _safe_text(exc)[:TEXT_CHARS_MAX],
        "text": _format(exc, skip_under)[:TEXT_CHARS_MAX],
        "pickle": _pickle_or_none(exc),
        "frames": frames,
        "repeats": repeats,
        "suppress": exc.__suppress_context__,
        "notes": _notes(exc),
    }
    if depth > 0:
        if isinstance(exc, _GROUP):
            _describe_group(exc, fields, skip_under, depth)
        if exc.__cause__ is not None:
            fields["cause"] = _describe(exc.__cause__, skip_under, depth - 1)
        elif exc.__context__ is not None and not exc.__suppress_context__:
            fields["context"] = _describe(exc.__context__, skip_under, depth - 1)
    return fields


def _describe_group(group: Any, fields: dict[str, Any], skip_under: str | None, depth: int) -> None:
    """Let each exception of a group travel by itself, with its own frames."""
    members = group.exceptions
    fields["members"] = [
        _describe(member, skip_under, depth - 1) for member in members[:MEMBERS_MAX]
    ]
    if len(members) > MEMBERS_MAX:
        fields["notes"].append(f"{len(members) - MEMBERS_MAX} more exceptions are not shown")
    fields["pickle"] = _pickle_group_or_none(group)


def _pickle_group_or_none(group: Any) -> bytes | None:
    from volant.wire.payloads import dumps_by_value

    try:
        data = dumps_by_value((type(group), group.message, group.__dict__))
    except Exception:  # noqa: BLE001  # pickling runs user code
        return None
    return data if len(data) <= PICKLE_BYTES_MAX else None


def _safe_text(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception:  # noqa: BLE001  # a user's __str__ may do anything
        return f"<{type(exc).__name__} whose text cannot be shown>"


def _notes(exc: BaseException) -> list[str]:
    notes = getattr(exc, "__notes__", None)
    if not isinstance(notes, (list, tuple)):
        return []
    return [note[:TEXT_CHARS_MAX] for note in notes[:NOTES_MAX] if isinstance(note, str)]


def _pickle_or_none(exc: BaseException) -> bytes | None:
    """The pickle of an exception, or None when it cannot make the round trip."""
    from volant.wire.payloads import dumps_by_value, loads_plain

    # The second form is for classes whose __init__ does not take what `args` holds.
    for form in (exc, _Bare(exc)):
        try:
            data = dumps_by_value(form)
            again = loads_plain(data)
        except Exception:  # noqa: BLE001, S112  # pickling runs user code
            continue
        if type(again) is type(exc) and len(data) <= PICKLE_BYTES_MAX:
            return data
    return None


class _Bare:
    """Pickles an exception by its parts, without calling its `__init__`."""

    def __init__(self, exc: BaseException) -> None:
        self.exc = exc

    def __reduce__(self) -> tuple[object, ...]:
        return _from_parts, (type(self.exc), self.exc.args, self.exc.__dict__)


def _from_parts(
    kind: type[BaseException], args: tuple[object, ...], attributes: dict[str, object]
) -> BaseException:
    exc = kind.__new__(kind, *args)
    _set(exc, "args", args)
    exc.__dict__.update(attributes)
    return exc


def _set(exc: BaseException, name: str, value: object) -> None:
    """Set what Python itself sets, also on an exception that forbids it (a frozen dataclass)."""
    BaseException.__setattr__(exc, name, value)


def _frames(
    tb: TracebackType | None, skip_under: str | None
) -> tuple[list[list[object]], list[int]]:
    """The frames of a traceback, and how often each comes in a row: a recursion is one."""
    import linecache

    frames: list[list[object]] = []
    repeats: list[int] = []
    last = None
    while tb is not None:
        code = tb.tb_frame.f_code
        if (code, tb.tb_lasti) == last:
            repeats[-1] += 1
        elif skip_under is None or not code.co_filename.startswith(skip_under):
            last = (code, tb.tb_lasti)
            repeats.append(1)
            line = linecache.getline(code.co_filename, tb.tb_lineno, tb.tb_frame.f_globals)
            line = line.rstrip("\n")[:LINE_CHARS_MAX]
            position = _position(code, tb.tb_lasti)
            frames.append([code.co_filename, tb.tb_lineno, code.co_name, line, *position])
        tb = tb.tb_next
    return frames[-FRAMES_MAX:], repeats[-FRAMES_MAX:]


def _position(code: CodeType, instruction: int) -> list[int]:
    """End line, first and last column of the failing expression; empty before Python 3.11."""
    if not hasattr(code, "co_positions"):
        return []
    from itertools import islice

    position = next(islice(code.co_positions(), instruction // 2, None), (None,) * 4)
    known = [number for number in position[1:] if number is not None]
    return known if len(known) == 3 else []


def _format(exc: BaseException, skip_under: str | None) -> str:
    import traceback

    tb = exc.__traceback__
    while tb is not None and skip_under and tb.tb_frame.f_code.co_filename.startswith(skip_under):
        tb = tb.tb_next
    try:
        return "".join(traceback.format_exception(type(exc), exc, tb))
    except Exception:  # noqa: BLE001  # a user's __str__ or __repr__ may do anything
        return f"{type(exc).__name__}: {_safe_text(exc)}\n"


def decode_fault(
    data: bytes, *, local_path: Callable[[str], str | None] | None = None
) -> BaseException:
    """Rebuild the exception of a fault, its traceback made of the remote frames.

    Args:
        data: what `encode_fault` or `platform_fault` made.
        local_path: maps a path in the container to the same file here, or None.

    Returns:
        The user's own exception type where it can be rebuilt, else `RemoteError`.
    """
    try:
        fields = values.decode_map(data)
        where = str(fields.get("where") or "")
        return _rebuild(fields, where, local_path, CHAIN_MAX)
    except Exception as error:
        # The bytes come from where user code runs: whatever is wrong with them is one error.
        from volant import errors

        raise errors.InternalError("a fault could not be read") from error


def text_of_fault(data: bytes) -> str:
    """A fault as text, for whoever may not unpickle: the traceback, or the platform's message."""
    try:
        fields = values.decode_map(data)
        if "text" in fields:
            return str(fields["text"])[:TEXT_CHARS_MAX].rstrip()
        hint = fields["hint"]
        text = f"{fields['error']!s}: {fields['message']!s}"
        return (f"{text}\nhint: {hint!s}" if hint else text)[:TEXT_CHARS_MAX]
    except (ValueError, KeyError):
        return "what it failed with could not be read"


def _rebuild(
    fields: dict[str, Any],
    where: str,
    local_path: Callable[[str], str | None] | None,
    depth: int,
) -> BaseException:
    grouped = fields.get("members", ()) if depth > 0 else ()
    members = [_rebuild(member, "", local_path, depth - 1) for member in grouped]
    exc = _exception_of(fields, members, is_outermost=depth == CHAIN_MAX)
    frames = fields.get("frames") or []
    repeats = fields.get("repeats") or [1] * len(frames)
    _set(exc, "__traceback__", _traceback(frames, repeats, where, local_path))
    for link in ("cause", "context"):
        chained = fields.get(link)
        if chained is not None and depth > 0:
            rebuilt = _rebuild(chained, "", local_path, depth - 1)
            _set(exc, f"__{link}__", rebuilt)
    suppress = bool(fields.get("suppress", False)) or "cause" in fields
    _set(exc, "__suppress_context__", suppress)
    if fields.get("notes") and not getattr(exc, "__notes__", None):
        _set(exc, "__notes__", [str(note) for note in fields["notes"]])
    if fields.get("pickle") is not None:
        _note_lost_text(exc, fields)
    return exc


def _note_lost_text(exc: BaseException, fields: dict[str, Any]) -> None:
    """Keep the text of an exception that unpickles with less than it had."""
    text = str(fields["message"])
    if text not in _safe_text(exc)[: 2 * TEXT_CHARS_MAX]:  # a RemoteError has it, and more
        notes = getattr(exc, "__notes__", None) or []
        _set(exc, "__notes__", [*notes, f"in the container its text was: {text}"])


def _exception_of(
    fields: dict[str, Any], members: list[BaseException], *, is_outermost: bool
) -> BaseException:
    from volant import errors

    if "error" in fields:
        kind = getattr(errors, fields["error"], errors.InternalError)
        if not issubclass(kind, (errors.Error, errors.InputCancellation)):
            raise ValueError(f"{fields['error']!r} is no error of ours")
        extra = {"image_id": str(fields["image_id"])} if "image_id" in fields else {}
        made: BaseException = kind(str(fields["message"]), hint=fields.get("hint"), **extra)
        return made
    if fields["pickle"] is not None:
        from volant.wire.payloads import loads_plain

        try:
            exc = loads_plain(fields["pickle"])
            if members:
                kind, message, attributes = exc
                exc = _GROUP.__new__(kind, message, members)
                exc.__dict__.update(attributes)
        except Exception as error:  # noqa: BLE001  # unpickling runs user code
            reason = f"{type(error).__name__}: {error}"
        else:
            if isinstance(exc, BaseException):
                return exc
            reason = f"it unpickled as a {type(exc).__name__}"
    else:
        reason = "it could not be pickled"
    hint = f"the remote exception arrives as text because {reason}"
    if is_outermost:  # which has that of all others in it
        hint = f"{hint}\n\n{fields['text']}"
    return errors.RemoteError(f"{fields['type']}: {fields['message']}", hint=hint)


def _traceback(
    frames: list[list[Any]],
    repeats: list[int],
    where: str,
    local_path: Callable[[str], str | None] | None,
) -> TracebackType | None:
    """Build a traceback that shows `frames` (file, line, name, source line), outermost first."""
    if where and frames:
        frames = [[f"<remote call in {where}>", 1, "run", "", 1, 0, 0], *frames]
        repeats = [1, *repeats]
    tb: TracebackType | None = None
    for frame, count in zip(reversed(frames), reversed(repeats), strict=True):
        filename, line, name, source, *position = frame
        shown = local_path(filename) if local_path is not None else None
        if shown is None:
            shown = filename
            _remember_source(shown, line, source)
        tb = _traceback_entry(tb, shown, max(1, int(line)), str(name), position)
        for _ in range(min(count, REPEATS_MAX) - 1):
            tb = type(tb)(tb, tb.tb_frame, tb.tb_lasti, tb.tb_lineno)
    return tb


def _remember_source(filename: str, line: int, source: str) -> None:
    """Let tracebacks show a source line of a file that is not on this machine."""
    import linecache

    if not source or line > 1_000_000:
        return
    entry = linecache.cache.get(filename)
    lines = list(entry[2]) if entry is not None and len(entry) == 4 and entry[2] else []
    lines.extend(["\n"] * (line - len(lines)))
    lines[line - 1] = source + "\n"
    linecache.cache[filename] = (1, None, lines, filename)


def _traceback_entry(
    following: TracebackType | None, filename: str, line: int, name: str, position: list[int]
) -> TracebackType:
    """One entry: a frame can only be had by running code, so run a `raise` that lies there."""
    import _ast

    end_line, column, end_column = position if len(position) == 3 else (line, 0, 0)
    where = {
        "lineno": line, "end_lineno": max(line, end_line),
        "col_offset": column, "end_col_offset": end_column,
    }  # fmt: skip
    stop = _ast.Name(id="StopIteration", ctx=_ast.Load(), **where)
    tree = _ast.Module(body=[_ast.Raise(exc=stop, cause=None, **where)], type_ignores=[])
    code = compile(tree, filename, "exec").replace(co_name=name)
    if hasattr(code, "co_qualname"):  # pragma: no branch  # Python 3.10 has none
        code = code.replace(co_qualname=name)  # type: ignore[call-arg,unused-ignore]  # 3.11
    made = None
    try:
        exec(code, {"__name__": name})  # noqa: S102  # our own constant tree, see above
    except StopIteration:
        made = sys.exc_info()[2]
    assert made is not None and made.tb_next is not None, "the tree above always raises"
    entry = made.tb_next
    return type(entry)(following, entry.tb_frame, entry.tb_lasti, line)
