"""The process of the gateway: `python -m volantd.gateway`, started by the daemon.

It inherits the socket that clients connect to, and the one to the hub, and ends with the latter.
The kernel kills it with a daemon that dies, whatever it does: the next one needs the port.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import json
import signal
import socket
import ssl
from typing import Any

from volantd.gateway import limits
from volantd.gateway.gateway import Gateway, HubEnd, prepare
from volantd.gateway.multiplex.opening import Opening

#: Connections that wait to be accepted.
BACKLOG = 1024
#: Objects made, beyond those freed, between two runs of the garbage collector.
GC_ALLOCATIONS = 20_000
#: prctl(2)
_PR_SET_PDEATHSIG = 1


def tls_of(settings: dict[str, Any]) -> ssl.SSLContext | None:
    """What speaks TLS with clients, if the settings name a certificate.

    Raises:
        OSError: when a file cannot be read.
        ssl.SSLError: when it holds something else.
    """
    if not settings["tls"]:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(settings["tls"]["cert"], settings["tls"]["key"])
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def serve(settings: dict[str, Any], listener: socket.socket, hub: socket.socket) -> None:
    """Run the gateway until the hub is gone."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started the daemon
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    gateway = Gateway(loop, settings)
    await loop.create_unix_connection(lambda: HubEnd(gateway, ended), sock=hub)
    tls = tls_of(settings)
    prepare(listener)
    server = await loop.create_server(
        lambda: Opening(gateway), sock=listener, backlog=BACKLOG, ssl=tls
    )
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS)
    gateway.tell({"op": "serving"})
    await ended.wait()
    server.close()
    gateway.access.flush()


def main() -> None:
    """Run the gateway."""
    parser = argparse.ArgumentParser(prog="volantd.gateway", description=__doc__.splitlines()[0])
    parser.add_argument("--listener-fd", type=int, required=True)
    parser.add_argument("--hub-fd", type=int, required=True)
    parser.add_argument("--settings", type=json.loads, required=True)
    given = parser.parse_args()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    limits.change(given.settings.get("limits", {}))
    listener, hub = socket.socket(fileno=given.listener_fd), socket.socket(fileno=given.hub_fd)
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(given.settings, listener, hub))
    else:
        uvloop.run(serve(given.settings, listener, hub))


if __name__ == "__main__":
    main()
