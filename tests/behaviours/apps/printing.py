"""Functions that print, in every way that ends up on a descriptor."""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
import sys
import time

import volant

app = volant.App("printing")


@app.function()
def both(value: int) -> int:
    print(f"out {value}")
    print(f"err {value}", file=sys.stderr)
    return value


@app.function()
def below_python() -> None:
    """Past `sys.stdout`: the descriptor itself, C's buffer, a child process."""
    print("python first")
    sys.stdout.flush()
    os.write(1, b"descriptor\n")
    libc = ctypes.CDLL(None)
    libc.puts(b"c library")
    libc.fflush(None)
    subprocess.run(["/bin/sh", "-c", "echo child; echo child err >&2"], check=True)
    print("python last")


@app.function()
def without_newline() -> None:
    print("no newline", end="")


@app.function()
def many_lines(count: int) -> None:
    for number in range(count):
        print(f"line {number}")


@app.function()
def binary() -> None:
    sys.stdout.buffer.write(b"\xff\xfe raw\n")
    print("ä€😀")


@app.function()
def logged() -> None:
    logging.getLogger("somewhere").warning("a warning of logging")


@app.function()
def leave() -> None:
    print("before the exit")
    sys.exit(7)


@app.function()
def print_and_wait(duration_s: float) -> None:
    print("before the wait", flush=True)
    time.sleep(duration_s)


def main() -> None:
    with app.run():
        both.remote(1)
        print("only this")


if __name__ == "__main__":
    main()
