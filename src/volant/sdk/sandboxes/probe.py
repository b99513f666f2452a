"""`volant.Probe`: what says that a sandbox is ready."""

from __future__ import annotations

from volant.errors import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

INTERVAL_DEFAULT_MS = 100
INTERVAL_MAX_MS = 3_600_000
PORT_MAX = 65535


class Probe:
    """How it is found out whether a sandbox is ready; looked at until it says so once.

    Example:
        >>> Probe.with_tcp(8080)
        <volant.Probe of port 8080>
    """

    def __init__(self, wire: dict[str, Any], shown: str) -> None:
        self._wire = wire
        self._shown = shown

    def __repr__(self) -> str:
        return f"<volant.Probe of {self._shown}>"

    @property
    def tcp_port(self) -> int | None:
        """The port of `with_tcp`; None for a command."""
        port: int | None = self._wire.get("port")
        return port

    @property
    def exec_argv(self) -> tuple[str, ...] | None:
        """The command of `with_exec`; None for a port."""
        words: Sequence[str] | None = self._wire.get("argv")
        return None if words is None else tuple(words)

    @property
    def interval_ms(self) -> int:
        """Between two looks."""
        interval_s: float = self._wire["interval_s"]
        return int(interval_s * 1000 + 0.5)

    @staticmethod
    def with_tcp(port: int, *, interval_ms: int = INTERVAL_DEFAULT_MS) -> Probe:
        """Ready when something in the sandbox accepts connections at a port.

        Args:
            port: from 1 to 65535.
            interval_ms: between two looks.

        Raises:
            InvalidError: for what is no port or no time.
        """
        if type(port) is not int or not 1 <= port <= PORT_MAX:
            raise InvalidError(f"a port is a number from 1 to {PORT_MAX}, not {port!r}")
        return Probe({"interval_s": _seconds(interval_ms), "port": port}, f"port {port}")

    @staticmethod
    def with_exec(*argv: str, interval_ms: int = INTERVAL_DEFAULT_MS) -> Probe:
        """Ready when a command in the sandbox ends with 0.

        Args:
            argv: program and arguments.
            interval_ms: between the end of one and the next.

        Raises:
            InvalidError: for what is no command or no time.
        """
        from volant.sdk.sandboxes.checked import checked_words

        words = checked_words("Probe.with_exec", argv)
        if not words:
            raise InvalidError("Probe.with_exec needs a command", hint="Probe.with_exec('true')")
        return Probe({"interval_s": _seconds(interval_ms), "argv": words}, f"command {words[0]!r}")


def _seconds(interval_ms: object) -> float:
    good = isinstance(interval_ms, (int, float)) and not isinstance(interval_ms, bool)
    if not good or not 1 <= interval_ms <= INTERVAL_MAX_MS:  # type: ignore[operator]  # a number
        raise InvalidError(f"interval_ms must be from 1 to {INTERVAL_MAX_MS}, got {interval_ms!r}")
    return float(interval_ms) / 1000  # type: ignore[arg-type]  # as above
