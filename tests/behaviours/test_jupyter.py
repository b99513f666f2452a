"""JupyterLab in a sandbox, used as a browser uses it: its kernel computes over a WebSocket."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import httpx
from websockets.sync.client import connect

from tests.behaviours.programs import WITHIN_S, Program
from tests.support import ROOT

if TYPE_CHECKING:
    from pathlib import Path

#: A message of its kernels, as their protocol 5.3 has them.
EXECUTE = {
    "header": {
        "msg_id": "1", "msg_type": "execute_request", "username": "u", "session": "s",
        "version": "5.3",
    },
    "parent_header": {}, "metadata": {}, "channel": "shell",
    "content": {"code": "6 * 7", "silent": False},
}  # fmt: skip


def address(program: Program) -> re.Match[str]:
    """What it says about where it is, behind what the build printed."""
    for line in program.lines():
        found = re.search(r"JupyterLab is at (http://(\S+))/lab\?token=(\S+) until", line)
        if found:
            return found
    raise AssertionError(f"it said no address:\n{program.end()}")


def test_the_example_serves_notebooks_until_it_is_interrupted(volant_home: Path) -> None:
    words = ("-m", "volant", "run", ROOT / "examples" / "jupyter.py", "--minutes", "5")
    program = Program(*words, home=volant_home, directory=ROOT)
    try:
        url, host, token = address(program).groups()
        assert httpx.get(f"{url}/api/contents").status_code == 403  # without a token
        with httpx.Client(base_url=url, headers={"Authorization": f"token {token}"}) as client:
            kernel = client.post("/api/kernels", json={}, timeout=WITHIN_S).json()["id"]
        channels = f"ws://{host}/api/kernels/{kernel}/channels?token={token}"
        with connect(channels, open_timeout=WITHIN_S) as kernel_socket:
            kernel_socket.send(json.dumps(EXECUTE))
            answer = {}
            while answer.get("msg_type") != "execute_result":
                answer = json.loads(kernel_socket.recv(timeout=WITHIN_S))
        assert answer["content"]["data"]["text/plain"] == "42"
        program.interrupt()
        assert program.end()[0] == 130
    finally:
        program.kill()
