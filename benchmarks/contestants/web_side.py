"""One uvicorn behind the gateway, behind nginx, and directly: requests of all sorts to each.

                 ┌─► gateway ─┐
    wrk, curl ───┼─► nginx   ─┼─unix socket─► uvicorn
                 └─► uvicorn at a port of its own

The gateway is the real process; its hub is played here and grants every lease at once, so that the
relay alone is measured. What a lease costs is a matter of the hub, and paid once a second.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

from benchmarks.harness import debian
from benchmarks.harness.contestant import ROOT
from benchmarks.harness.figures import percentile
from volant.wire import frames, values

HOST = "app-f.localhost"
SIZE_BYTES = 1 << 30
LATENCIES = 2000
_NGINX = """
{user}
worker_processes 1; daemon off; pid {place}/nginx.pid; error_log {place}/nginx.log;
events {{ worker_connections 16000; }}
http {{
  access_log off; client_max_body_size 0; keepalive_requests 1000000000;
  client_body_temp_path {place}/t; proxy_temp_path {place}/t; fastcgi_temp_path {place}/t;
  uwsgi_temp_path {place}/t; scgi_temp_path {place}/t;
  upstream app {{ server unix:{place}/app.sock; keepalive 128; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_buffering off; proxy_request_buffering off;
    }}
  }}
}}
"""


class Web:
    """Everything started, and the client of all."""

    def __init__(self) -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self._holder = tempfile.TemporaryDirectory(prefix="vw-", ignore_cleanup_errors=True)
        self.place = Path(self._holder.name)
        self._running: list[subprocess.Popen[bytes]] = []
        self._wrk = debian.find("wrk")
        self.ports = {name: _free_port() for name in ("direct", "nginx")}
        serve = ["uvicorn", "benchmarks.apps.answering:app", "--http",
                 "benchmarks.apps.answering:Protocol", "--loop", "uvloop", "--no-access-log",
                 "--log-level", "warning", "--timeout-keep-alive", "600"]  # fmt: skip
        self._start([sys.executable, "-m", *serve, "--uds", str(self.place / "app.sock")])
        port = str(self.ports["direct"])
        self._start([sys.executable, "-m", *serve, "--host", "127.0.0.1", "--port", port])
        self._start_nginx()
        self._start_gateway()
        try:
            for name in ("direct", "nginx", "gateway"):
                _wait_for(self.ports[name])
        except BaseException:
            self.close()
            raise

    def _start(self, argv: list[str], **options: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.DEVNULL, **options)
        self._running.append(process)
        return process

    def _start_nginx(self) -> None:
        nginx = debian.find("nginx")
        path = self.place / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""  # our directory is only ours
        path.write_text(_NGINX.format(user=user, place=self.place, port=self.ports["nginx"]))
        os.mkdir(self.place / "t")
        self._start(
            [nginx.path, "-c", str(path), "-p", str(self.place), "-e",
             str(self.place / "nginx.log")], env=nginx.env,
        )  # fmt: skip

    def _start_gateway(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.ports["gateway"] = listener.getsockname()[1]
        self._hub, its = socket.socketpair()
        fds = listener.fileno(), its.fileno()
        settings = {
            "tls": None, "trusted_fronts": [], "log": str(self.place / "gateway.log"),
            "log_bytes_max": 16 << 20, "body_bytes_max": 4 << 30,
        }  # fmt: skip
        self.gateway = self._start(
            [sys.executable, "-m", "volantd.gateway", "--listener-fd", str(fds[0]), "--hub-fd",
             str(fds[1]), "--settings", json.dumps(settings)], pass_fds=fds,
        )  # fmt: skip
        listener.close()
        its.close()
        self._tell("route", label="app-f", name="f", timeout_s=3600.0, requires_proxy_auth=False,
                   single_use=False, domains=[], stateless=False, h2_enabled=False,
                   parameters=[])  # fmt: skip
        threading.Thread(target=self._grant, daemon=True).start()

    def _tell(self, op: str, **fields: object) -> None:
        self._hub.sendall(frames.control(frames.EVENT, values.encode({"op": op, **fields})))

    def _grant(self) -> None:
        reader, address = frames.FrameReader(), str(self.place / "app.sock")
        while data := self._hub.recv(1 << 16):
            for _, _, body in reader.feed(data):
                event = values.decode_map(body)
                if event["op"] == "lease":
                    self._tell("granted", lease=event["lease"], container="c", address=address)

    # -- turns

    def turn(
        self, *, what: str, by: str = "gateway", count: int = 0, for_s: int = 0
    ) -> dict[str, Any]:
        """One turn: `load`, `latency`, `ticks`, `down`, `up`, or what so many connections hold."""
        url = f"http://127.0.0.1:{self.ports[by]}"
        if what == "load":
            return {"rate": self._load(url, count, for_s)}
        if what == "latency":
            return {"p50_ms": _latency_ms(self.ports[by])}
        if what in ("down", "up"):
            return {"mb_per_s": _bulk(url, what)}
        if what == "ticks":
            return {"late_ms": asyncio.run(_ticks(self.ports[by]))}
        return self._held(what, count)

    def _load(self, url: str, count: int, for_s: int) -> float:
        argv = [self._wrk.path, "-t1", f"-c{count}", f"-d{for_s}s", "-H", f"Host: {HOST}", url]
        done = subprocess.run(
            argv, env=self._wrk.env, capture_output=True, text=True, check=True
        ).stdout
        assert "Non-2xx" not in done and "Socket errors" not in done, done
        found = re.search(r"Requests/sec:\s+([0-9.]+)", done)
        assert found is not None, done
        return float(found.group(1))

    def _held(self, what: str, count: int) -> dict[str, Any]:
        before_mb = _memory_mb(self.gateway.pid)
        holding = _websockets if what == "websockets" else _keep_alive
        return asyncio.run(holding(self.ports["gateway"], count, self.gateway.pid, before_mb))

    def close(self) -> None:
        for process in self._running:
            process.send_signal(signal.SIGTERM)
        for process in self._running:
            process.wait(20)
        self._hub.close()
        self._holder.cleanup()


def _latency_ms(port: int) -> float:
    """The median time of a request, one after another."""
    request = f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    taken = []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(LATENCIES):
            begun = time.perf_counter()
            sock.sendall(request)
            while b"world!" not in sock.recv(4096):
                pass
            taken.append((time.perf_counter() - begun) * 1e3)
    return percentile(taken, 0.5)


def _bulk(url: str, what: str) -> float:
    """Megabytes a second of a gibibyte up or down."""
    argv = [
        "curl",
        "-sS",
        "-o",
        "/dev/null",
        "-H",
        f"Host: {HOST}",
        "-H",
        "Expect:",
        url + f"/{what}",
    ]
    begun = time.perf_counter()
    if what == "up":
        with subprocess.Popen(["head", "-c", str(SIZE_BYTES), "/dev/zero"], stdout=-1) as source:
            subprocess.run([*argv, "-T", "-"], stdin=source.stdout, check=True)
    else:
        subprocess.run(argv, check=True)
    return SIZE_BYTES / 1e6 / (time.perf_counter() - begun)


async def _ticks(port: int) -> list[float]:
    """How long after it was made each piece of a response was here."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /ticks HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    late_ms = []
    while line := await reader.readline():
        if len(line.strip()) > 10:
            late_ms.append((time.perf_counter_ns() - int(line)) / 1e6)
    writer.close()
    return late_ms


async def _keep_alive(port: int, count: int, pid: int, before_mb: float) -> dict[str, Any]:
    """Connections that had a request and wait for the next."""
    held = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        await reader.readuntil(b"world!")
        held.append((reader, writer))
    used_mb = _memory_mb(pid) - before_mb
    for reader, writer in held:  # each of them still works
        writer.write(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        await reader.readuntil(b"world!")
        writer.close()
    return {"mb": used_mb}


async def _websockets(port: int, count: int, pid: int, before_mb: float) -> dict[str, Any]:
    """WebSockets on which nothing happens."""
    url = f"ws://{HOST}:{port}/"
    held = [await connect(url, host="127.0.0.1", port=port) for _ in range(count)]
    used_mb = _memory_mb(pid) - before_mb
    for one in held:
        await one.send("still here")
        assert await one.recv() == "still here"
    for one in held:
        await one.close()
    return {"mb": used_mb}


def _memory_mb(pid: int) -> float:
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * resource.getpagesize() / 1e6


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
                sock.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
                if sock.recv(100).startswith(b"HTTP/1.1 200"):
                    return
        except ConnectionError:
            pass
        assert time.monotonic() < deadline, port
        time.sleep(0.05)
