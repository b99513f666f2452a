"""What tests of several tiers share: waiting for a condition, ending a daemon, running the command.

Knows the product only from outside: its command, its socket and its exit codes.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).resolve().parent.parent
#: The installed command, beside the interpreter that runs the tests.
VOLANT = Path(sys.executable).with_name("volant")
#: How long a daemon may take to end by itself before it is killed.
STOP_WITHIN_S = 10.0

Status = TypeVar("Status")


def eventually(check: Callable[[], Status], within_s: float = 5.0, every_s: float = 0.01) -> Status:
    """Ask `check` again until it gives something true, and return that.

    An AssertionError of `check` counts as "not yet"; the last one, or the last status, is shown
    when the time is over. For conditions that nothing announces; an event is better waited for.
    """
    pause = threading.Event()
    deadline = time.monotonic() + within_s
    while True:
        failed: AssertionError | None = None
        status: object = None
        try:
            status = check()
        except AssertionError as error:
            failed = error
        if status:
            return status  # type: ignore[return-value]  # what `check` returned, and true
        if time.monotonic() >= deadline:
            raise AssertionError(
                f"not so within {within_s} s; last status: {failed or status!r}"
            ) from failed
        pause.wait(every_s)


def same(found: bytes | bytearray, expected: bytes | bytearray) -> bool:
    """Whether long contents are the same; says briefly how they differ, for `assert same(a, b)`.

    On a build machine pytest shows all of the difference of two bytes, for a minute per 100 KB.

    Raises:
        AssertionError: with the lengths and the first difference.
    """
    __tracebackhide__ = True
    if found == expected:
        return True
    pairs = enumerate(zip(found, expected, strict=False))
    at = next((at for at, (one, other) in pairs if one != other), min(len(found), len(expected)))
    raise AssertionError(
        f"{len(found)} bytes, expected {len(expected)}; from byte {at} on: "
        f"{bytes(found[at : at + 16])!r}, expected {bytes(expected[at : at + 16])!r}"
    )


def free_port(*, room_above: int = 0) -> int:
    """A port of this machine that nobody has, and that is given to nobody who asks for any.

    Args:
        room_above: so many more above it are given to nobody either.
    """
    given_from = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    end = given_from - room_above
    for port in random.sample(range(end // 2, end), 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("100 ports are taken")


def daemon_pid(home: Path) -> int | None:
    """The process that listens on a home's socket, or None when nobody does."""
    with socket.socket(socket.AF_UNIX) as client:
        directory = os.open(home, os.O_PATH | os.O_DIRECTORY)
        try:
            # A socket's address holds 107 bytes; this way a long temporary path fits.
            client.connect(f"/proc/self/fd/{directory}/daemon.sock")
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        finally:
            os.close(directory)
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int(struct.unpack("3i", credentials)[0])


def stop_daemon(home: Path) -> None:
    """End the daemon of `home` and wait until it is gone; kill it when it does not go by itself."""
    pid = daemon_pid(home)
    if pid is None:
        return
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                signal.pidfd_send_signal(handle, number)
            except ProcessLookupError:
                return
            if select.select([handle], [], [], STOP_WITHIN_S)[0]:
                return
        raise AssertionError(f"the daemon {pid} of {home} survives SIGKILL")
    finally:
        os.close(handle)


def run_volant(
    *args: str | Path,
    home: Path,
    within_s: float = 60.0,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    directory: Path = ROOT,
) -> subprocess.CompletedProcess[str]:
    """Run the installed `volant` command as a user would and return what it said.

    Args:
        args: the command line behind `volant`.
        home: its VOLANT_HOME; the daemon found or started there serves the command.
        within_s: longer than this is a failure.
        env: variables beside the tests' own.
        stdin: what it may read.
        directory: where it runs.
    """
    environ = {**os.environ, "VOLANT_HOME": str(home), "NO_COLOR": "1", **(env or {})}
    return subprocess.run(
        [VOLANT, *map(str, args)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=within_s,
        env=environ,
        cwd=directory,
        check=False,
    )
