"""A contestant: a process of its own that takes a turn when it is told to.

    harness ──{"count": 1000}──► contestant ──{"p50_us": ...}──► harness     lines of JSON

Volant's client, a process pool and a Ray driver each live in their own process, as a user's
would, so that the threads and memory of one are not measured with another. What a contestant
prints goes to a log, whose end is shown when it fails.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent.parent
_LOG_TAIL_CHARS = 2000
#: What a contestant may take to end by itself.
_END_WITHIN_S = 20.0


class Side(Protocol):
    """What a contestant's module offers: made with options, ready when made."""

    def turn(self, **arguments: Any) -> dict[str, Any]:
        """Take one turn; returns its figures."""

    def close(self) -> None:
        """Leave nothing behind."""


class ContestantFailedError(Exception):
    """A contestant ended or took too long; the text ends with what it printed."""


class Contestant:
    """The harness's end of one contestant."""

    def __init__(
        self, target: str, *, env: Mapping[str, str], log: Path, **options: object
    ) -> None:
        """Start it and wait until it is ready.

        Args:
            target: `module:Class` of its side.
            env: its whole environment.
            log: file that takes what it prints.
            options: how its side is made; JSON.
        """
        self.target = target
        self._log = log
        ours, theirs = socket.socketpair()
        arguments = [target, str(theirs.fileno()), json.dumps(options)]
        with theirs, log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.harness.contestant", *arguments],
                cwd=ROOT, env=dict(env), pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        self._socket = ours
        self._lines = ours.makefile("rw", encoding="utf-8")
        self.ready = self.finish(within_s=120.0)

    def begin(self, **arguments: object) -> None:
        """Tell it to take a turn."""
        self._lines.write(json.dumps(arguments) + "\n")
        self._lines.flush()

    def answered(self, within_s: float) -> bool:
        """Wait for the end of its turn; False when the time is over first."""
        return bool(select.select([self._socket], [], [], within_s)[0])

    def finish(self, within_s: float = 300.0) -> dict[str, Any]:
        """Wait for the end of its turn and return its figures.

        Raises:
            ContestantFailedError: when it fails or takes longer.
        """
        line = self._lines.readline() if self.answered(within_s) else ""
        if not line:
            tail = self._log.read_text(errors="replace")[-_LOG_TAIL_CHARS:]
            raise ContestantFailedError(f"{self.target} gave no answer; it said:\n{tail}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def turn(self, **arguments: object) -> dict[str, Any]:
        """One whole turn."""
        self.begin(**arguments)
        return self.finish()

    def close(self) -> None:
        """End it; returns when its process is gone."""
        self._lines.close()
        self._socket.close()
        try:
            self.process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def serve(target: str, fd: int, options: dict[str, Any]) -> None:
    """The contestant's end: make the side, then answer turn after turn."""
    module, _, attribute = target.partition(":")
    side: Side = getattr(importlib.import_module(module), attribute)(**options)
    try:
        with socket.socket(fileno=fd) as sock, sock.makefile("rw", encoding="utf-8") as lines:
            lines.write(json.dumps({"pid": os.getpid()}) + "\n")
            lines.flush()
            for line in lines:
                answer = side.turn(**json.loads(line))
                lines.write(json.dumps(answer) + "\n")
                lines.flush()
    except BrokenPipeError:
        pass  # the harness has had enough
    finally:
        side.close()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the harness decides when we end
    serve(sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]))
