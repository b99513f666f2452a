"""Runs `python -m volantd.backups`, shows its progress on a terminal, and gives what came of it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from volant import errors


def run(*words: str) -> dict[str, Any]:
    """What the process says when it is done.

    Raises:
        Error: what it failed with.
    """
    # -P: whatever lies in the working directory must not pass for a module of ours.
    arguments = [sys.executable, "-P", "-m", "volantd.backups", *words]
    shows = sys.stderr.isatty()
    last: dict[str, Any] = {}
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        for line in process.stdout:
            last = json.loads(line)
            if shows and last["event"] == "progress":
                text = f"{last['what']} {last['done']} of {last['total']}"
                print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    if shows:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    event = last.pop("event", "")
    if event == "done":
        return last
    if event == "failed":
        kind: type[errors.Error] = getattr(errors, last["kind"])
        raise kind(last["message"], hint=last["hint"])
    raise errors.InternalError(
        f"`{' '.join(words[:1])}` ended with status {process.returncode}",
        hint="what it printed is above",
    )
