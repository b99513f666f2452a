"""The user's terminal, offered to the containers of an app: they are joined to it one at a time.

    app.run(interactive=True) --terminal_offer--> hub
    hub --lifeline and leading end of a container's terminal--> here: copied until the lifeline ends

Whichever thread reads the channel copies, so nothing else comes from there meanwhile: logs and
results wait in the hub, and progress waits for the block.
"""

from __future__ import annotations

import os
import select

from volant.channel.waiter import Waiter
from volant.errors import InvalidError
from volant.sdk import output
from volant.sdk.terminal import local
from volant.wire import frames, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volant.channel.channel import Channel


class Desk(Waiter):
    """Takes the containers that are joined, as long as its app runs."""

    __slots__ = ("_frame", "_lifeline")

    is_waited_for = False

    def __init__(self, number: int) -> None:
        super().__init__()
        message = {"id": number, "op": "terminal_offer", "size": list(local.size()),
                   "env": local.variables()}  # fmt: skip
        self._frame = frames.control(frames.REQUEST, values.encode(message))
        self._lifeline = -1

    def on_result(self, flags: int, head: tuple[int, int, int, int], section: bytes,
                  fd: int | None) -> None:  # fmt: skip
        assert fd is not None
        if head[1] == 0:
            self._lifeline = fd
            return
        shown = output.active
        if shown is not None:
            shown.hold()
        try:
            local.copy_terminal(fd, [self._lifeline], self._has_left)
        finally:
            os.close(self._lifeline)
            if shown is not None:
                shown.release()

    def _has_left(self) -> bool:
        poll = select.poll()
        poll.register(self._lifeline, select.POLLIN)
        return bool(poll.poll(0))

    def on_reply(self, reply: dict[str, Any]) -> None:
        """There is none, unless the hub refuses: then breakpoints will say what is wrong."""

    def resubmit(self) -> list[tuple[bytes, int | None]]:
        return [(self._frame, None)]


def check_terminal() -> None:
    """Refuse to join containers to what is no terminal.

    Raises:
        InvalidError: when nobody types here.
    """
    if not local.is_terminal():
        raise InvalidError(
            "an interactive run needs a terminal, and standard input or output is none",
            hint="run it where you can type, without pipes",
        )


#: The channel whose hub has been offered the terminal.
_offered_to: Channel | None = None


def offer(channel: Channel) -> None:
    """Offer this process's terminal to the containers of its apps; once is enough."""
    global _offered_to
    if _offered_to is channel:
        return
    _offered_to = channel
    number = channel.next_number()
    desk = Desk(number)
    channel.register(number, desk)
    channel.send(desk.resubmit()[0][0])
