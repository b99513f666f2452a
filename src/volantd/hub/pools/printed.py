"""Requests about what containers of one function or class have printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volantd.hub import checks
from volantd.hub.pools import autoscaler

if TYPE_CHECKING:
    from volantd.hub.session import Session

SOURCES = ("stdout", "stderr", "system")
#: The latest time that can be asked for, in seconds of Unix time.
TIME_MAX = 1e11


def function_logs(session: Session, message: dict[str, Any]) -> dict[str, Any]:
    """What its containers printed, running or not, as far as the app's log reaches back."""
    function = autoscaler.find(session, message)
    since = checks.number(message, "since", 0, TIME_MAX)
    until = checks.number(message, "until", 0, TIME_MAX)
    checks.optional(checks.text, message, "source")
    if message["source"] not in (*SOURCES, None):
        raise ValueError("containers print to nothing of that name")
    checks.optional(checks.whole, message, "tail")
    source, name = message["source"], function.name

    def is_wanted(row: dict[str, Any]) -> bool:
        is_its = row["function"] == name and source in (None, row["stream"])
        return bool(is_its and since <= row["time"] <= until)

    logs = session.hub.services.logs
    entries = logs.read(function.app.app_id, tail=message["tail"], where=is_wanted)
    return {"function_id": function.object_id, "entries": entries}
