"""A record of one daemon, or of several one after the other, under load."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.crashes.load import AHEAD
from tests.crashes.power.disk import told
from tests.support import ROOT, VOLANT, stop_daemon

#: How long one load may take.
WITHIN_S = 300.0


def compiled(directory: Path) -> Path:
    """The library that records, made with the machine's C compiler."""
    library = directory / "record.so"
    source = Path(__file__).with_name("record.c")
    words = ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*words, "-o", library, source, "-ldl"], check=True)
    return library


def record(directory: Path, calls: int, loads: int) -> bytes:
    """What daemons in the home `directory`/home have done to their files.

    Args:
        directory: empty; what lies there afterwards is of no more use.
        calls: that one load makes.
        loads: one after the other, each with a daemon of its own.
    """
    home, path = directory / "home", directory / "record"
    home.mkdir(mode=0o700)
    path.touch()
    environ = {name: value for name, value in os.environ.items() if "VOLANT" not in name}
    environ |= {"VOLANT_HOME": str(home), "POWER_RECORD": str(path), "POWER_ROOT": str(home),
                "LD_PRELOAD": str(compiled(directory))}  # fmt: skip
    try:
        for words in AHEAD:
            subprocess.run([VOLANT, *words], cwd=ROOT, env=environ, check=True, capture_output=True)
        with path.open("ab") as file:
            file.write(told(b'{"did": "ahead"}\n'))
        for number in range(loads):
            words = [str(path), str(number * calls), str(calls), "--record"]
            argv = [sys.executable, "-m", "tests.crashes.load", *words]
            subprocess.run(argv, cwd=ROOT, env=environ, check=True, timeout=WITHIN_S)
            stop_daemon(home)  # not by a kill: that comes between what is done and what is recorded
    finally:
        stop_daemon(home)
    return path.read_bytes()
