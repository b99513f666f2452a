"""The same by Redis through redis-py, with each change on the disk before it is answered."""

from __future__ import annotations

import pickle
import subprocess
import time
from pathlib import Path
from typing import Any

import redis

from benchmarks.contestants.timing import time_calls, time_rate
from benchmarks.harness import debian
from benchmarks.harness.figures import percentile

#: As for Volant.
PAUSE_S = 0.003
WITHIN_S = 20.0


class Objects:
    """Puts and gets, and the server that they go to."""

    def __init__(self, directory: str) -> None:
        program = debian.find("redis-server")
        place = Path(directory)
        place.mkdir()
        self.server = subprocess.Popen(
            [program.path, "--port", "0", "--unixsocket", place / "redis.sock", "--dir", place,
             "--appendonly", "yes", "--appendfsync", "always", "--save", ""],
            env=program.env, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self.client = connect(place)

    def turn(self, what: str, count: int) -> dict[str, Any]:
        if what == "dict":
            return time_calls(self._put_and_get, count)
        if what == "queue":
            return time_rate(self._pass_many, count, 1000)
        for _ in range(count):
            time.sleep(PAUSE_S)
            self.client.rpush("waited-for", pickle.dumps(time.monotonic_ns()))
        return {}

    def _put_and_get(self) -> None:
        self.client.set("key", pickle.dumps(7))
        assert pickle.loads(self.client.get("key")) == 7

    def _pass_many(self) -> None:
        self.client.rpush("line", *map(pickle.dumps, range(1000)))
        assert len([pickle.loads(one) for one in self.client.lpop("line", 1000)]) == 1000

    def close(self) -> None:
        self.client.close()
        self.server.terminate()
        self.server.wait()


class Getter:
    """Waits for values, in a process of its own."""

    def __init__(self, directory: str) -> None:
        self.client = connect(Path(directory))

    def turn(self, count: int) -> dict[str, Any]:
        taken = []
        for _ in range(count):
            _, raw = self.client.blpop("waited-for")
            taken.append(time.monotonic_ns() - pickle.loads(raw))
        return {"p50_us": percentile(taken, 0.5) / 1e3}

    def close(self) -> None:
        self.client.close()


def connect(place: Path) -> redis.Redis:
    """A client of the server in a directory, as soon as it answers."""
    client = redis.Redis(unix_socket_path=str(place / "redis.sock"))
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            client.ping()
        except redis.ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return client
