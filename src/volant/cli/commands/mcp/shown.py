"""What came out of a sandbox, made safe to show: bounded, and without characters that do things.

A command may print anything, for as long as it likes. `Kept` holds the beginning and the end of it
and counts the rest; `harmless` spells out what would move a cursor, hide text or turn it around.
"""

from __future__ import annotations

import re

#: Bytes of each stream of a command that are shown.
OUTPUT_BYTES_MAX = 32 << 10
#: Characters of a line by which a client is told how far a command is.
LINE_CHARS_MAX = 200

#: Control characters but tab and line feed; what is not seen or changes directions; tags.
_ACTIVE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)


def harmless(text: str) -> str:
    r"""Text whose active characters are spelt out, as `\x1b` or `\u202e`; `\r\n` ends a line.

    What a terminal would have shown can be told from it; a backslash of its own stays as it is.
    """
    return _ACTIVE.sub(_spelt, text.replace("\r\n", "\n"))


def _spelt(found: re.Match[str]) -> str:
    number = ord(found[0])
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


class Kept:
    """The beginning and the end of a stream, half of `OUTPUT_BYTES_MAX` each."""

    def __init__(self, most: int = OUTPUT_BYTES_MAX) -> None:
        self._half = most // 2
        self._head = bytearray()
        self._tail = bytearray()
        self.size = 0

    def add(self, data: bytes) -> None:
        """Take more of it."""
        self.size += len(data)
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        del self._tail[: -self._half]

    def last_line(self, most: int = LINE_CHARS_MAX) -> str:
        """The end of the last line that is not empty, harmless; "" when there is none."""
        end = bytes(self._tail or self._head)[-4 * most :].decode("utf-8", "replace")
        lines = [line for line in end.splitlines() if line.strip()]
        return harmless(lines[-1].strip())[-most:] if lines else ""

    @property
    def cut(self) -> int:
        """Bytes that were left out."""
        return self.size - len(self._head) - len(self._tail)

    def text(self) -> str:
        """What is kept, harmless, with a line that says what was left out."""
        if not self.cut:
            return harmless((self._head + self._tail).decode("utf-8", "replace"))
        head, tail = (
            harmless(part.decode("utf-8", "replace")) for part in (self._head, self._tail)
        )
        return f"{head}\n[... {self.cut} bytes were left out here ...]\n{tail}"
