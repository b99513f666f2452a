"""A program under `volant serve`, saved again and again, and whoever asks for its answer."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from time import perf_counter

from benchmarks.contestants.deployed_side import Client

VOLANT = Path(sys.executable).with_name("volant")
SMALL = """import volant

app = volant.App("{name}")


@app.function(min_containers=1)
@volant.wsgi_app()
def answer():
    def respond(environ, start):
        start("200 OK", [("Content-Type", "text/plain")])
        return [b"{name} {version}"]

    return respond
"""
FRAMEWORK = """import fastapi
import volant

app = volant.App("{name}")


@app.function(min_containers=1)
@volant.fastapi_endpoint()
def answer() -> str:
    return "{name} {version}"
"""
PROGRAMS = {"small": SMALL, "framework": FRAMEWORK}
#: A response that is not there by then never comes.
_WITHIN_S = 20.0


class Served:
    """Saves versions of a program."""

    def __init__(self, directory: str, program: str) -> None:
        self._program = program
        self._path = Path(directory) / "program.py"
        self._path.parent.mkdir(parents=True)
        self._version = 0
        self._save()
        self._serve = subprocess.Popen(
            [VOLANT, "serve", self._path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, env=os.environ,
        )  # fmt: skip
        self._url = self._read_url()
        threading.Thread(target=self._read_on, daemon=True).start()
        self._await()

    def _read_url(self) -> str:
        assert self._serve.stderr is not None
        for line in self._serve.stderr:
            found = re.search(r"=> (http\S+)", line)
            if found is not None:
                return found[1]
        raise RuntimeError("`volant serve` ended before it served")

    def _read_on(self) -> None:
        assert self._serve.stderr is not None
        for _ in self._serve.stderr:
            pass

    def _save(self) -> None:
        self._version += 1
        text = PROGRAMS[self._program].format(name=self._program, version=self._version)
        self._path.write_text(text)

    def _await(self) -> None:
        """Ask until the version that was saved last answers."""
        wanted = f"{self._program} {self._version}".encode()
        client, deadline = Client(self._url), perf_counter() + _WITHIN_S
        try:
            while perf_counter() < deadline:
                with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                    if wanted in client.get():
                        return
                time.sleep(0.001)
        finally:
            client.close()
        raise RuntimeError(f"version {self._version} was not served within {_WITHIN_S:g} s")

    def turn(self, pause_s: float) -> dict[str, float]:
        """One save, after a pause as if somebody edited."""
        time.sleep(pause_s)
        begun = perf_counter()
        self._save()
        self._await()
        return {"ms": (perf_counter() - begun) * 1e3}

    def close(self) -> None:
        self._serve.terminate()
        self._serve.wait()
