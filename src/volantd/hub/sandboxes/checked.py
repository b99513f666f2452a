"""What clients say of sandboxes and of commands in them, checked field by field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from volant.config import RUNTIMES
from volant.errors import InvalidError
from volantd.fields import mapping, number, optional, sequence, switch, text, whole
from volantd.hub import checks
from volantd.hub.sandboxes.record import Port, Probe
from volantd.hub.secrets import layers

#: Bytes of all words of a command.
ARGUMENTS_BYTES_MAX = 64 << 10
#: Variables of one command, and characters of all their names and values.
VARIABLES_MAX, VARIABLES_CHARS_MAX = 4000, 1 << 20
#: Seconds of a timeout, at most a year.
TIMEOUT_MAX_S = 366 * 86400.0
#: Ports that lead into one sandbox.
PORTS_MAX = 16
PORT_MAX = 65535
#: Rows and columns of a terminal.
SIDE_MAX = 10_000
PATH_CHARS_MAX = 4096
NAME_CHARS_MAX = 64
PROBE_INTERVAL_MIN_S, PROBE_INTERVAL_MAX_S = 0.001, 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A command that a client wants to be run.

    Attributes:
        argv: program and arguments.
        env: variables, those of secrets among them.
        stored: layers of secrets that the hub knows.
        workdir: absolute; None for the sandbox's own.
        timeout_s: None for no limit of its own.
        terminal: rows and columns; None for pipes.
        piped: which of stdin, stdout and stderr the client wants.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    stored: list[dict[str, Any]]
    workdir: str | None
    timeout_s: float | None
    terminal: tuple[int, int] | None
    piped: tuple[bool, bool, bool] = (True, True, True)


def wish_of(message: dict[str, Any]) -> Wish:
    """What a request says that shall be run.

    Raises:
        InvalidError: for too many or too long words.
        ValueError, KeyError: for what no SDK sends.
    """
    argv = words(message, "argv")
    if not argv or not argv[0]:
        raise InvalidError("a command needs a program")
    layers.check(message)
    optional(number, message, "timeout_s", 0.001, TIMEOUT_MAX_S)
    piped = sequence(message, "piped")
    if len(piped) != 3 or not all(isinstance(one, bool) for one in piped):
        raise ValueError("`piped` is no list of three switches")
    env = {**variables(message, "secrets"), **variables(message, "env")}
    return Wish(
        argv=argv, env=env, stored=message.get("stored", []), workdir=workdir(message),
        timeout_s=message["timeout_s"], terminal=terminal(message), piped=tuple(piped),
    )  # fmt: skip


def words(fields: dict[str, Any], name: str) -> tuple[str, ...]:
    """Program and arguments; empty for none.

    Raises:
        InvalidError: for too many bytes.
        ValueError: for what are no words.
    """
    found = sequence(fields, name)
    for word in found:
        if not isinstance(word, str) or "\0" in word:
            raise ValueError(f"a word of `{name}` is no text")
    size = sum(len(word.encode("utf-8", "surrogatepass")) + 1 for word in found)
    if size > ARGUMENTS_BYTES_MAX:
        raise InvalidError(f"arguments of {size} bytes, at most {ARGUMENTS_BYTES_MAX}")
    return tuple(found)


def variables(fields: dict[str, Any], name: str) -> dict[str, str]:
    """Environment variables.

    Raises:
        InvalidError: for too many.
        ValueError: for what are none.
    """
    env = mapping(fields, name)
    for key in env:
        value = text(env, key)
        if not key or "=" in key or "\0" in key + value:
            raise ValueError("a variable cannot have that name or value")
    size = sum(len(key) + len(value) for key, value in env.items())
    if len(env) > VARIABLES_MAX or size > VARIABLES_CHARS_MAX:
        raise InvalidError(f"{len(env)} variables of {size} characters are too many")
    return env


def workdir(fields: dict[str, Any]) -> str | None:
    """An absolute path, or None."""
    optional(text, fields, "workdir")
    path: str | None = fields["workdir"]
    if path is not None and "\0" in path:
        raise ValueError("`workdir` is no path")
    if path is not None and not (path.startswith("/") and len(path) <= PATH_CHARS_MAX):
        raise InvalidError(f"workdir must be an absolute path, got {path[:200]!r}")
    return path


def terminal(fields: dict[str, Any]) -> tuple[int, int] | None:
    """Rows and columns, or None."""
    optional(sequence, fields, "terminal")
    if fields["terminal"] is None:
        return None
    sides = dict(zip(("rows", "columns"), fields["terminal"], strict=True))
    return whole(sides, "rows", 0, SIDE_MAX), whole(sides, "columns", 0, SIDE_MAX)


def ports(fields: dict[str, Any]) -> tuple[Port, ...]:
    """The ports that are reached by tunnels.

    Raises:
        ValueError: for what are none, or one twice.
    """
    found = sequence(fields, "ports")
    if len(found) > PORTS_MAX or len({str(one) for one in found}) != len(found):
        raise ValueError(f"at most {PORTS_MAX} ports, each once")
    made = []
    for one in found:
        if not isinstance(one, dict):
            raise ValueError("a port is no map")
        number_of = whole(one, "port", 1, PORT_MAX)
        made.append(Port(number=number_of, is_plain=switch(one, "plain")))
    return tuple(made)


def probe(fields: dict[str, Any]) -> Probe | None:
    """What tells that a sandbox is ready, or None."""
    optional(mapping, fields, "probe")
    told: dict[str, Any] | None = fields["probe"]
    if told is None:
        return None
    interval_s = number(told, "interval_s", PROBE_INTERVAL_MIN_S, PROBE_INTERVAL_MAX_S)
    if told.get("port") is not None:
        return Probe(interval_s=interval_s, port=whole(told, "port", 1, PORT_MAX))
    argv = words(told, "argv")
    if not argv:
        raise ValueError("a probe without a port or a command")
    return Probe(interval_s=interval_s, argv=argv)


def runtime(fields: dict[str, Any]) -> str | None:
    """What its programs run on; None for what this daemon prefers.

    Raises:
        ValueError: for what there is not.
    """
    optional(text, fields, "runtime")
    found: str | None = fields["runtime"]
    if found not in (None, *RUNTIMES):
        raise ValueError(f"there is no runtime {found!r:.100}")
    return found


def name_of(fields: dict[str, Any]) -> str | None:
    """A name, or None.

    Raises:
        ValueError: for what cannot be one.
    """
    optional(text, fields, "name")
    name: str | None = fields["name"]
    if name is not None:
        checks.check_tags({name: "x"})  # names are written as tags are
    return name
