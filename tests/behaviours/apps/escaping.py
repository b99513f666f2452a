"""Functions that try to get out of their container, and say how far they came."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import volant

app = volant.App("escaping")


def outcome(attempt) -> str:
    """What became of an attempt: `done`, or the name of its error."""
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, type(error).__name__)
    return "done"


@app.function()
def read(paths: list[str]) -> dict[str, str]:
    return {path: outcome(Path(path).read_bytes) for path in paths}


@app.function()
def list_names(paths: list[str]) -> dict[str, list[str]]:
    """The names in each directory that is there."""
    return {path: sorted(os.listdir(path)) for path in paths if os.path.isdir(path)}


@app.function()
def find(names: list[str], text: str) -> tuple[list[str], int]:
    """Files with one of these names, and small ones that hold `text`; how many it saw."""
    shown = ("/usr/", sys.prefix + "/", sys.base_prefix + "/")  # for these, names are enough
    found, seen = [], 0
    for top, directories, files in os.walk("/"):
        directories[:] = [name for name in directories if (top, name) != ("/", "proc")]
        for name in files:
            path, seen = Path(top, name), seen + 1
            if name in names or (not str(path).startswith(shown) and holds(path, text)):
                found.append(str(path))
    return found, seen


def holds(path: Path, text: str) -> bool:
    try:
        return path.stat().st_size < 4096 and path.is_file() and text.encode() in path.read_bytes()
    except OSError:
        return False


@app.function()
def connect(paths: list[str]) -> dict[str, str]:
    def attempt(path: str) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)

    return {path: outcome(lambda path=path: attempt(path)) for path in paths}


@app.function()
def write(paths: list[str]) -> dict[str, str]:
    def attempt(path: str) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).write_text("overwritten from a container")

    return {path: outcome(lambda path=path: attempt(path)) for path in paths}


@app.function()
def processes() -> list[str]:
    """The command lines of all that it sees."""
    return [path.read_bytes().decode() for path in Path("/proc").glob("[0-9]*/cmdline")]


@app.function()
def probe_signal(pids: list[int]) -> set[str]:
    """Signal 0 does nothing but ask whether one may."""
    return {outcome(lambda pid=pid: os.kill(pid, 0)) for pid in pids}


@app.function()
def system_calls(numbers: dict[str, int]) -> dict[str, str]:
    """Each with arguments of zero, which would do nothing."""
    library = ctypes.CDLL(None, use_errno=True)
    found = {}
    for name, number in numbers.items():
        code = library.syscall(number, *(ctypes.c_long(0),) * 6)
        found[name] = "done" if code != -1 else errno.errorcode[ctypes.get_errno()]
    return found


@app.function()
def namespaces() -> dict[str, str]:
    return {name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")}


@app.function()
def mounts() -> list[str]:
    return Path("/proc/self/mountinfo").read_text().splitlines()


PLACES = ("/tmp", "/root", "/dev/shm", "/var/tmp", "/opt")


@app.function(max_containers=1)
def leave_files(name: str) -> tuple[str, list[str]]:
    """Writes a file in every place; also says which of them are there."""
    for place in PLACES:
        Path(place, name).write_text("mine")
    there = [place for place in PLACES if Path(place, name).exists()]
    return os.environ["VOLANT_CONTAINER_ID"], there


@app.function(max_containers=1)
def look_for_files(name: str) -> tuple[str, list[str]]:
    there = [place for place in PLACES if Path(place, name).exists()]
    return os.environ["VOLANT_CONTAINER_ID"], there


@app.function(max_containers=1, retries=0)
def start_threads(count: int) -> int:
    """How many threads, which count as processes, there can be beside this one."""
    threading.stack_size(64 << 10)
    end = threading.Event()
    threads = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=end.wait)
            thread.start()
            threads.append(thread)
    except RuntimeError:
        pass  # there can be no more
    finally:
        end.set()
        for thread in threads:
            thread.join()
    return len(threads)


@app.function(memory=(64, 128))
def use_memory(place: str, size_mib: int) -> int:
    """Takes memory: of its own, or as files of a file system in memory."""
    if place:
        with open(place, "wb") as file:
            file.writelines(bytes(1 << 20) for _ in range(size_mib))
    return len(bytearray(b"x") * (size_mib << 20))


@app.function()
def remove_everything(within_s: float) -> bool:
    """`rm -rf /`, only to be called after harmless probes; true when it removed itself."""
    command = ["rm", "-rf", "--no-preserve-root", "/etc", "/usr/bin", "/tmp", "/root", "/"]
    with contextlib.suppress(subprocess.TimeoutExpired):  # of many files, enough are gone to tell
        subprocess.run(command, capture_output=True, timeout=within_s, check=False)
    return not os.path.exists("/usr/bin/rm")


@app.function()
def alive() -> bool:
    return subprocess.run(["ls", "/usr/bin"], capture_output=True, check=False).returncode == 0
