"""Requests about schedules, of the machine's user: how they stand, pause, resume, run now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volant.errors import InvalidError, NotFoundError
from volantd.hub import checks
from volantd.hub.environments.book import told

if TYPE_CHECKING:
    from volantd.hub.schedules.timetable import Entry
    from volantd.hub.session import Session

#: Names with which one that was not found is compared.
COMPARED_MAX = 1000


def schedule_list(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Every schedule of the apps of an environment that run."""
    return {"schedules": [entry.row() for entry in _within(session, message)]}


def _within(session: Session, message: dict[str, Any]) -> list[Entry]:
    """The schedules of the environment that a request means."""
    environment = session.hub.environments.of(session, told(message))
    entries = session.hub.timetable.entries.values()
    return [entry for entry in entries if entry.function.app.environment is environment]


def schedule_pause(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Let nothing of a schedule be due; what runs goes on."""
    entry = _find(session, message)
    session.hub.timetable.pause(entry)
    return entry.row()


def schedule_resume(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Let times of a schedule be due again."""
    entry = _find(session, message)
    session.hub.timetable.resume(entry)
    return entry.row()


def schedule_run(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """Run the function of a schedule now."""
    entry = _find(session, message)
    call = session.hub.timetable.run(entry)
    return {**entry.row(), "call_id": f"fc-{call.call_id}"}


def _find(session: Session, message: dict[str, Any]) -> Entry:
    """The schedule of a function by its id or name: `function` or `app.function`.

    Raises:
        NotFoundError: for a name that means nothing, or a function without a schedule.
        InvalidError: for one that means several.
    """
    wanted = checks.text(message, "function")[: checks.SOUGHT_CHARS_MAX]
    known: dict[str, list[Entry]] = {}
    for entry in session.hub.timetable.entries.values():
        known.setdefault(entry.function.function_id, []).append(entry)
    for entry in _within(session, message):
        one = entry.function
        for name in (one.name, f"{one.app.name}.{one.name}"):
            known.setdefault(name, []).append(entry)
    found = known.get(wanted)
    if found is None:
        functions = session.hub.functions.values()
        if any(wanted in (one.function_id, one.name) for one in functions):
            raise NotFoundError(
                f"function {wanted!r} has no schedule",
                hint="give it one with @app.function(schedule=...)",
            )
        like = [name for name in known if name.startswith("fu-") == wanted.startswith("fu-")]
        raise checks.not_found("schedule", wanted, like[:COMPARED_MAX])
    if len(found) > 1:
        raise InvalidError(
            f"{len(found)} schedules are of functions called {wanted!r}",
            hint="use the id: " + ", ".join(entry.function.function_id for entry in found),
        )
    return found[0]


HANDLERS = (schedule_list, schedule_pause, schedule_resume, schedule_run)
