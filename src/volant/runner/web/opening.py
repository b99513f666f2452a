"""Waiting until a port of this container accepts.

Whoever decides on calls about ports (`volant/runner/ports`) holds a connection that says that it
waits until somebody listens at its port. Where nobody decides, it fails at once like any other, and
is tried again.
"""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
import threading

from volant.runner.ports import rules

HOST = "127.0.0.1"
#: Between two looks where nothing tells of a port.
LOOK_S = (0.002, 0.05)


async def is_open(port: int, within_s: float) -> bool:
    """Whether a port accepts, now or within a time."""
    loop = asyncio.get_running_loop()
    deadline, pause_s = loop.time() + within_s, LOOK_S[0]
    while (left_s := deadline - loop.time()) > 0:
        if await _is_connected(port, left_s):
            return True
        await asyncio.sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, LOOK_S[1])
    return False


async def _is_connected(port: int, within_s: float) -> bool:
    """Whether a connection that waits comes about in time; it is closed again."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bool] = loop.create_future()

    def note(is_connected: bool) -> None:
        if not done.done():
            done.set_result(is_connected)

    def connect() -> None:
        is_connected = _connect(port)
        try:
            loop.call_soon_threadsafe(note, is_connected)
        except RuntimeError:
            pass  # nobody waits, the container ends

    # It ends with the process at the latest: only death interrupts a call that is held.
    threading.Thread(target=connect, name="volant-port", daemon=True).start()
    try:
        return await asyncio.wait_for(done, within_s)
    except asyncio.TimeoutError:
        return False


def _connect(port: int) -> bool:
    address = struct.pack("=H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton(HOST)
    address = address.ljust(rules.AWAITED_BYTES - len(rules.AWAITED), b"\0") + rules.AWAITED
    libc = ctypes.CDLL(None)  # lets other threads run meanwhile, unlike that in `linux`
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        return int(libc.connect(sock.fileno(), address, len(address))) == 0
