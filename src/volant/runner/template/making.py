"""Makes a template of a bare zygote: the program, what containers share, what they import late."""

from __future__ import annotations

from volant import _context
from volant.runner.template import unforkable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from volant.runner.template.preloading import Program


def make(
    entry: dict[str, Any] | None, fields: dict[str, Any], program: Program | None
) -> dict[str, Any]:
    """Import a program.

    Args:
        entry: of the program, with `root`; None when there is none to import.
        fields: `snapshot` and `late`, as in PREPARE.
        program: where it begins.

    Returns:
        `threads`, `asks`, `culprits`, `late` and `refused`, as in READY.

    Raises:
        BaseException: what user code raises, unless it wanted what only containers have.
    """
    made: dict[str, Any] = {"culprits": [], "late": [], "refused": []}
    try:
        if entry is not None:
            from volant.runner import loading

            loading.prepare(entry)
        made["threads"] = unforkable.thread_names()
        if not made["threads"] and fields["snapshot"] is not None:
            from volant.runner.template import snapshot

            made["culprits"] = snapshot.take(fields["snapshot"])
    except BaseException:  # user code raises what it likes
        if not _context.sdk_fd_was_missed:
            raise
        made["threads"] = unforkable.thread_names()
    made["asks"] = _context.sdk_fd_was_missed
    if made["threads"] or made["asks"] or made["culprits"] or entry is None or program is None:
        return made
    if not fields["late"]:
        return made
    from volant.runner.template import late

    return {**made, **late.take(fields["late"], program, entry.get("web", ()))}
