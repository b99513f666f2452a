"""A Chromium without a window, driven by its own protocol."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from websockets.sync.client import connect

from tests.behaviours.programs import WITHIN_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from websockets.sync.client import ClientConnection

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
#: Containers of build machines have no room in /dev/shm, and root has no sandbox.
WORDS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--remote-debugging-port=0",
    # Pages of ours are all there is: what others serve is not asked for.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE *.localhost, EXCLUDE 127.0.0.1",
)  # fmt: skip


class Page:
    """One page of a browser."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self._session: str | None = None
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        attached = self.command("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.command("Page.enable")

    def command(self, method: str, **params: Any) -> dict[str, Any]:
        """What the browser answers to a command."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._connection.send(json.dumps(message))
        while (answer := self._next()).get("id") != number:
            pass
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._connection.recv(WITHIN_S))
        return message

    def open(self, url: str) -> None:
        """Go to an address, and wait until the page is there."""
        self._connection.send(json.dumps({
            "id": next(self._numbers), "method": "Page.navigate", "params": {"url": url},
            "sessionId": self._session,
        }))  # fmt: skip
        while self._next().get("method") != "Page.domContentEventFired":
            pass

    def value(self, script: str) -> Any:
        """What an expression of JavaScript is, once it is known."""
        found = self.command(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press a key and let it go, for whatever has the focus."""
        for kind in ("rawKeyDown", "keyUp"):
            self.command(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code
            )


@contextlib.contextmanager
def chromium(directory: Path) -> Iterator[Page]:
    """A browser with an empty page; skips the test where there is none."""
    found = [path for name in NAMES if (path := shutil.which(name)) is not None]
    if not found:
        pytest.skip("there is no Chromium on this machine")
    process = subprocess.Popen(
        [found[0], *WORDS, f"--user-data-dir={directory}"], stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        said = (line.partition("DevTools listening on ") for line in process.stderr)
        url = next(rest.strip() for _, mark, rest in said if mark)
        with connect(url, max_size=None, open_timeout=WITHIN_S) as connection:
            yield Page(connection)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the command is a script, and has many children
        process.communicate(timeout=WITHIN_S)
