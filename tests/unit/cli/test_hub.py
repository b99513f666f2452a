"""Commands that ask a daemon, at the moment at which it ends."""

from __future__ import annotations

import socket
from threading import Thread
from typing import TYPE_CHECKING

from volant.channel.daemon import SOCKET_NAME
from volant.channel.key import make_key
from volant.cli.shared import hub

if TYPE_CHECKING:
    from pathlib import Path


def test_a_daemon_that_breaks_off_the_greeting_is_none(tmp_path: Path) -> None:
    """What it has not read makes the kernel reset the connection."""
    make_key(str(tmp_path))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / SOCKET_NAME))
        listener.listen()

        def end() -> None:
            connection, _ = listener.accept()
            connection.recv(1)
            connection.close()

        ending = Thread(target=end)
        ending.start()
        assert hub.open_channel(str(tmp_path)) is None
        ending.join()
