"""Containers whose server does not answer any more: given up, and replaced where they are needed.

Somebody looks from time to time, soon again once there was no answer. A single look says little: a
program may restart its listener.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from volantd.core.containers import close
from volantd.core.dispatch import balance
from volantd.core.model import ContainerState

if TYPE_CHECKING:
    from volantd.core.commands import Command
    from volantd.core.model import Container, State

#: Why a container is stopped.
UNANSWERING = "its server does not answer"


def note(state: State, container: Container, answers: bool, now: float, out: list[Command]) -> None:
    """Takes the result of a look; ends the container at the last of several without an answer."""
    container.unanswered = 0 if answers else container.unanswered + 1
    is_given_up = container.unanswered >= state.limits.unanswered_max
    if not is_given_up or container.state is not ContainerState.READY:
        return
    close(state, container, UNANSWERING, now, out)
    if not container.pool.removed:
        balance(state, container.pool, now, out)
