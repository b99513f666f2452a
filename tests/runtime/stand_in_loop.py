"""Takes the place of `volant.runner.loop` in tests of the runtime: runs code it is sent.

Request and reply: 4 bytes of length, then text. The code sets `result`; the reply is its repr,
or `!` and the exception.
"""

from __future__ import annotations

import os
import socket
import struct


def serve(channel_fd, sdk_fd, container_id):
    channel = socket.socket(fileno=channel_fd)
    scope = {"container_id": container_id, "sdk_fd": sdk_fd, "channel_fd": channel_fd}
    while True:
        head = channel.recv(4, socket.MSG_WAITALL)
        if not head:
            os._exit(0)
        code = channel.recv(struct.unpack("<I", head)[0], socket.MSG_WAITALL)
        scope["result"] = None
        try:
            exec(code, scope)
            answer = repr(scope["result"]).encode()
        except BaseException as exc:  # noqa: BLE001  # as the real one
            answer = f"!{type(exc).__name__}: {exc}".encode()
        channel.sendall(struct.pack("<I", len(answer)) + answer)
