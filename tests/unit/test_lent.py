"""What web functions are lent: complete for every Python, made once, and alone in its place."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.runtime.test_pythons import VERSIONS, interpreter
from tests.support import ROOT
from volantd import lent

#: Answers requests by an app, and by a server of its own behind a relay; prints the two answers.
SERVE = """
import sys; sys.path += sys.argv[1:3]
import asyncio, os, socket, tempfile
from volant.runner.web.relay import Relay
from volant.runner.web.serving import HttpServer
import a2wsgi, uvicorn.protocols.websockets.auto as websockets

async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"by uvicorn"})

async def answer(reader, writer):
    if await reader.read(1 << 16):
        writer.write(b"by itself")
    writer.close()

def listener(path):
    found = socket.socket(socket.AF_UNIX)
    found.bind(path)
    found.listen()
    found.setblocking(False)
    return found

async def get(path):
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n")
    print((await reader.read()).decode())
    writer.close()

async def main(place):
    http = HttpServer(app, listener(place + "/http"), 1, asyncio.Semaphore(1))
    own = await asyncio.start_server(answer, "127.0.0.1", 0)
    relay = Relay(own.sockets[0].getsockname()[1], listener(place + "/relay"), 20.0, print)
    for server, name in ((http, "/http"), (relay, "/relay")):
        await server.start()
        await get(place + name)
        await server.stop(20.0)
    own.close()
    assert websockets.AutoWebSocketsProtocol

asyncio.run(main(sys.argv[3]))
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_lent_serves_alone(tmp_path: Path, version: str) -> None:
    """With no other package beside it, by every Python that images may have."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} on this machine")
    directory = lent.directory(str(tmp_path))
    run = subprocess.run(
        [python, "-I", "-S", "-c", SERVE, directory, str(ROOT / "src"), str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "by uvicorn" in run.stdout
    assert "by itself" in run.stdout


def test_it_is_made_once_and_takes_the_place_of_others(tmp_path: Path) -> None:
    stale = tmp_path / "lent" / "stale" / "uvicorn"
    stale.mkdir(parents=True)
    first = lent.directory(str(tmp_path))
    assert sorted(os.listdir(tmp_path / "lent")) == sorted(["boot", Path(first).name])
    made = os.stat(first).st_ino
    assert lent.directory(str(tmp_path)) == first
    assert os.stat(first).st_ino == made


def test_after_another_start_of_the_machine_it_is_made_anew(tmp_path: Path) -> None:
    first = Path(lent.directory(str(tmp_path)))
    (tmp_path / "lent" / "boot").write_text("an earlier one")
    lost = next(path for path in first.rglob("*.py") if path.stat().st_size)
    content = lost.read_bytes()
    lost.write_bytes(b"")  # as a power cut leaves what was not synced
    assert lent.directory(str(tmp_path)) == str(first)
    assert lost.read_bytes() == content


def test_guises_lie_in_a_directory_of_their_own(tmp_path: Path) -> None:
    """What a container tells of itself is told under their names too."""
    place = Path(lent.directory(str(tmp_path)))
    assert sorted(one.name for one in (place / "guises").iterdir()) == ["modal"]
    assert (place / "guises/modal/__init__.py").exists()
    told = lent.under_all_names({"VOLANT_TASK_ID": "ta-1", "PATH": "/bin"})
    assert told == {"VOLANT_TASK_ID": "ta-1", "MODAL_TASK_ID": "ta-1", "PATH": "/bin"}
    assert lent.without_names(told) == {"PATH": "/bin"}
