"""Where am I: the questions user code asks about the process and input it runs in."""

from __future__ import annotations

import os

from volant import _context


def is_local() -> bool:
    """True on the user's machine, False in a container and in the processes it starts."""
    return not (_context.in_container() or "VOLANT_IS_REMOTE" in os.environ)


def current_input_id() -> str | None:
    """Id of the input that runs here (`in-…`), None outside a container."""
    current = _context.current_input.get()
    return None if current is None else f"in-{current[0]}-{current[1]}"


def current_function_call_id() -> str | None:
    """Id of the call whose input runs here (`fc-…`), None outside a container."""
    current = _context.current_input.get()
    return None if current is None else f"fc-{current[0]}"
