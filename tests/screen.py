"""What a person sees of what was written to a terminal: enough of one for the live region."""

from __future__ import annotations

import re

_STEPS = re.compile(r"\x1b\[(\d*)([A-Za-z])|(\r|\n)|([^\x1b\r\n]+)")


def visible(written: str) -> list[str]:
    """The lines on a screen that is large enough, after all of `written`."""
    lines = [""]
    row = column = 0
    for count, command, control, text in _STEPS.findall(written):
        if command == "A":
            row -= int(count or 1)
        elif command == "J":
            lines[row] = lines[row][:column]
            del lines[row + 1 :]
        elif control == "\r":
            column = 0
        elif control == "\n":
            row += 1
            column = 0
            if row == len(lines):
                lines.append("")
        elif text:
            before = lines[row].ljust(column)[:column]
            lines[row] = before + text + lines[row][column + len(text) :]
            column += len(text)
    return lines
