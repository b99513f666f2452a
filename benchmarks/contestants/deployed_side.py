"""A deployed web app and its clients: cold requests, and load while versions follow each other."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from benchmarks.contestants.volant_side import request
from volant.channel import current

PROGRAM = Path(__file__).parents[1] / "apps" / "site.py"
VOLANT = Path(sys.executable).with_name("volant")
THREADS = 4
_POLL_S = 0.005


class Deployed:
    """One app in versions."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._version = 0
        self.url = ""
        self._deploy()
        row = request("app_lookup", app="site")["urls"][0]
        self.url = str(row[2])
        self._client().get()

    def _client(self) -> Client:
        return Client(self.url)

    def _deploy(self) -> float:
        """Deploy a version that nobody has seen; seconds that the command took."""
        self._version += 1
        told = {"SITE_VERSION": str(self._version), "SITE_WINDOW_S": str(self._window_s)}
        environ = {**os.environ, **told}
        begun = perf_counter()
        subprocess.run([VOLANT, "deploy", "--quiet", PROGRAM], env=environ, check=True)
        return perf_counter() - begun

    def _roll_back(self) -> float:
        begun = perf_counter()
        subprocess.run([VOLANT, "app", "rollback", "site"], check=True, stdout=subprocess.DEVNULL)
        return perf_counter() - begun

    def turn(self, what: str, **arguments: Any) -> dict[str, Any]:
        """One measurement: `cold` or `load`."""
        measured: dict[str, Any] = getattr(self, f"_{what}")(**arguments)
        return measured

    def _cold(self) -> dict[str, float]:
        """A request that finds no container; its zygote has imported the program."""
        client = self._client()
        while request("container_list")["containers"]:
            time.sleep(_POLL_S)
        time.sleep(0.2)  # what was forked ahead is there again
        begun = perf_counter()
        client.get()
        elapsed_ms = (perf_counter() - begun) * 1e3
        client.close()
        return {"ms": elapsed_ms}

    def _load(self, rate: float, for_s: float) -> dict[str, Any]:
        """Requests at a steady rate, a deployment a third through, a rollback after two."""
        stop = threading.Event()
        failed: list[str] = []
        seen: list[bytes] = []
        threads = [
            threading.Thread(target=self._keep_asking, args=(rate / THREADS, stop, failed, seen))
            for _ in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        time.sleep(for_s / 3)
        deploy_s = self._deploy()
        time.sleep(for_s / 3)
        rollback_s = self._roll_back()
        time.sleep(for_s / 3)
        stop.set()
        for thread in threads:
            thread.join()
        versions = len(set(seen))
        return {"deploy_s": deploy_s, "rollback_s": rollback_s, "requests": len(seen),
                "failed": len(failed), "why": failed[:3], "versions": versions}  # fmt: skip

    def _keep_asking(
        self, rate: float, stop: threading.Event, failed: list[str], seen: list[bytes]
    ) -> None:
        client, due = self._client(), perf_counter()
        while not stop.is_set():
            try:
                seen.append(client.get())
            except (OSError, http.client.HTTPException, ValueError) as error:
                failed.append(repr(error))
                client = self._client()
            due += 1 / rate
            time.sleep(max(0.0, due - perf_counter()))
        client.close()

    def close(self) -> None:
        current.forget()


class Client:
    """One connection that stays open."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._path = parts.path or "/"
        assert parts.hostname is not None
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)

    def get(self) -> bytes:
        """The body of a response that is a success.

        Raises:
            ValueError: for one that is none.
        """
        self._connection.request("GET", self._path)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise ValueError(f"{response.status}: {body[:200]!r}")
        return body

    def close(self) -> None:
        self._connection.close()
