"""Answers to requests about volumes, which take work on threads, and errors in words.

What a path is not (there, free, a file) is told in fields instead of an error: programs expect the
errors of Python there, which the client raises.
"""

from __future__ import annotations

import logging
import sqlite3
from typing import TYPE_CHECKING, Any

from volant.errors import (
    Error,
    InvalidError,
    NotFoundError,
    ResourceExhaustedError,
    ServiceError,
)
from volant.wire.faults import error_fault
from volantd.core.volumes.editing import TakenError
from volantd.core.volumes.trees import NoSuchPathError, WrongKindError
from volantd.hub import checks
from volantd.volumes.nodes import LostContentError
from volantd.volumes.scanning import TooMuchError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from volantd.hub.objects.kinds import NamedObject
    from volantd.hub.session import Session
    from volantd.volumes.service import Volumes

log = logging.getLogger(__name__)

KIND = "volume"
#: Requests of one session that are worked on at the same time; more are refused.
REQUESTS_MAX = 64
#: What is wrong with a path, by the error of it.
_PROBLEMS: dict[type[Exception], str] = {
    NoSuchPathError: "missing", TakenError: "taken", WrongKindError: "kind",
}  # fmt: skip


def volumes_of(session: Session, message: dict[str, Any]) -> Volumes | None:
    """The volumes, None while it is not known yet which there are: then this is asked again.

    Raises:
        Error: when they cannot be used.
    """
    volumes = session.hub.services.volumes
    if not session.hub.objects.is_open(session, message):
        return None
    if not volumes.opened.done():
        session.ask_after(volumes.opened, message)
        return None
    if volumes.opened.exception() is not None:
        raise ServiceError("volumes cannot be used", hint="the daemon's log says why")
    return volumes


def volume_of(session: Session, message: dict[str, Any]) -> NamedObject:
    """The volume that a request is about.

    Raises:
        NotFoundError: when there is none.
    """
    return session.hub.objects.find(KIND, checks.text(message, "object_id"))


def answer_later(
    session: Session, message: dict[str, Any], work: Coroutine[object, object, dict[str, Any]]
) -> None:
    """Answer a request with what some work returns, or raises.

    Raises:
        ResourceExhaustedError: when too many of this session are being answered.
    """
    if session.volume_requests >= REQUESTS_MAX:
        work.close()
        raise ResourceExhaustedError(
            f"{REQUESTS_MAX} requests about volumes at once", hint="wait for answers in between"
        )
    session.volume_requests += 1
    session.hub.services.tasks.start(_answer(session, message["id"], work), "answer-volume")


async def _answer(
    session: Session, number: int, work: Coroutine[object, object, dict[str, Any]]
) -> None:
    try:
        fields = await work
    except Error as error:
        session.refuse(number, error_fault(error))
    except Exception as error:  # noqa: BLE001  # told to who asked, whatever it is
        problem = _PROBLEMS.get(type(error))
        if problem is not None:
            session.reply(number, {"problem": problem, "path": str(error)})
        else:
            session.refuse(number, error_fault(in_words(error)))
    else:
        session.reply(number, fields)
    finally:
        session.volume_requests -= 1


def in_words(error: Exception) -> Error:
    """What clients are told when something went wrong with a volume."""
    if isinstance(error, Error):
        return error
    if isinstance(error, (ValueError, TooMuchError)):
        return InvalidError(str(error))
    if isinstance(error, WrongKindError):
        return InvalidError(f"{str(error)!r} in the volume is no directory")
    if isinstance(error, LostContentError):
        return ServiceError(str(error), hint="`volant volume restore` goes back to another state")
    if isinstance(error, (OSError, sqlite3.Error)):
        return ServiceError(f"the volume could not be read or written: {error}")
    log.error("volume_request_failed", exc_info=error)
    return ServiceError(f"the daemon failed: {type(error).__name__}", hint="its log says more")


def not_there(path: str) -> NotFoundError:
    """The error for a state that is not kept."""
    return NotFoundError(path, hint="`volant volume history` shows those that are kept")
