"""What a process knows of its place: on a user's machine, or in a container and in which input.

Written by the runner, read by the SDK. In a client every field keeps its default.
"""

from __future__ import annotations

from _contextvars import ContextVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

#: Id of this container (`ta-…`), "" outside one.
container_id = ""
#: Descriptor of this container's own connection to the hub, for calls made by user code.
sdk_fd: int | None = None
#: Whether user code of this container may ask the hub nothing.
is_restricted = False
#: Whether user code asked for it where there is none, in a process that is forked later.
sdk_fd_was_missed = False
#: Id of the app this container belongs to (`ap-…`).
app_id = ""
#: Functions of that app by name -> the number they have on the container's connection.
function_numbers: dict[str, int] = {}
#: Where they answer to the web: name, method of a class or None, address.
web_urls: list[tuple[str, str | None, str]] = []
#: Its place in a cluster: `id`, `rank`, and by rank the `addresses` of all and the ids of their
#: `containers`; None outside one.
cluster: dict[str, Any] | None = None
#: Inputs that this container runs at once, at most.
inputs_max = 1
#: Whether this container answers to the web: what runs for a request is no input.
answers_requests = False

#: Gives back the terminal that this container is joined to; None while it is not.
leave_terminal: Callable[[], None] | None = None

#: What is done when an input has failed, before that is told; None for nothing.
on_failure: Callable[[], None] | None = None

#: (call id, index of the input) that runs in this context.
current_input: ContextVar[tuple[str, int] | None] = ContextVar("volant_input", default=None)


def in_container() -> bool:
    """True where user code runs remotely."""
    return bool(container_id)
