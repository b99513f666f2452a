"""Moves what a template has loaded into huge pages, before the first fork.

    model in 65,536 pages of 4 KiB ──► a fork copies as many entries: 256 MB in 4 to 8 ms
    model in    128 pages of 2 MiB ──► next to nothing, and the end of the fork is as cheap

The kernel does this only where it is asked to, and seldom is: numpy asks for its larger arrays.
A container that writes gets copies of small pages as before, so no more memory is taken. A kernel
that cannot, or has no memory left for it, leaves things as they are.
"""

from __future__ import annotations

from volant.runner import linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

#: x86_64, and aarch64 with pages of 4 KiB. Elsewhere the kernel finds nothing that is whole.
HUGE_BYTES = 2 << 20
#: Smaller mappings cost a fork little.
MAPPING_BYTES_MIN = 4 << 20
#: How full a mapping is to be: its holes would take memory.
FILLED_MIN = 0.75


def collapse() -> None:
    """Have the large mappings of this process in huge pages; takes about 0.3 ms for each MB."""
    try:
        with open("/proc/self/smaps", encoding="ascii", errors="replace") as file:
            found = worthwhile(file)
    except OSError:
        return  # forks cost more, and that is all
    for begin, end in found:
        try:
            linux.collapse(begin, end - begin)
        except OSError:
            continue  # an older kernel, or too little memory


def worthwhile(smaps: Iterable[str]) -> list[tuple[int, int]]:
    """Mappings that are private, written to, large and nearly full: (begin, end) in huge pages.

    Args:
        smaps: lines as in proc(5).
    """
    found: list[tuple[int, int]] = []
    begin = end = 0
    for line in smaps:
        name, _, rest = line.partition(" ")
        if not name.endswith(":"):
            low, _, high = name.partition("-")
            begin, end = int(low, 16), int(high, 16)
            if end - begin < MAPPING_BYTES_MIN or not rest.startswith("rw-p"):
                begin = end
        elif name == "Anonymous:" and begin < end:
            filled = int(rest.split()[0]) << 10
            if filled >= (end - begin) * FILLED_MIN:
                whole = -(-begin // HUGE_BYTES) * HUGE_BYTES, end // HUGE_BYTES * HUGE_BYTES
                found.append(whole)
    return found
