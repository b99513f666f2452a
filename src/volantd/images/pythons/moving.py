"""Copies an installation of Python to another place, so that it says it was always there."""

from __future__ import annotations

import os
import re
import stat
import struct
from typing import TYPE_CHECKING

from volantd.images.files import put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from volantd.images.pythons.found import FoundPython

#: Where Pythons lie in images.
PREFIX = "/usr/local"
#: Parts of the standard library that no program imports, by the beginnings of their names.
_LEFT_OUT = re.compile(
    r"(__pycache__|site-packages|dist-packages|idlelib|turtledemo|tests?|idle_test|"
    r"libpython.*\.a|_test.*\.so|_ctypes_test.*\.so|(_xxtest|xx).*\.so|_tkinter.*\.so|"
    r".*\.py[co]|EXTERNALLY-MANAGED)"
)
#: Files that say where Python was built to be.
_TELLING = re.compile(r"(/_sysconfigdata.*\.py|/Makefile|-config|-config\.py|\.pc|\.json)$")
_ELF = b"\x7fELF"
#: The head of a program of 64 bits whose numbers have their lowest byte first.
_ELF_64_LITTLE = _ELF + b"\x02\x01"
#: A segment: kind, flags, place in the file, address, physical address, size in the file.
_SEGMENT = struct.Struct("<IIQQQQ")
_LOAD, _DYNAMIC = 1, 2
#: An entry of the table for the linker: tag, value.
_ENTRY = struct.Struct("<qQ")
_STRINGS, _RPATH, _RUNPATH = 5, 15, 29


def files(python: FoundPython) -> Iterator[str]:
    """The files of an installation that images get, relative to its prefix."""
    yield f"bin/python{python.series}"
    config = f"bin/python{python.series}-config"
    if os.path.exists(os.path.join(python.prefix, config)):
        yield config
    library = re.compile(rf"(libpython{re.escape(python.series)}|libpython3)\.so.*")
    for part in {os.path.dirname(part) for part in python.parts[:-1]}:
        for name in sorted(os.listdir(os.path.join(python.prefix, part))):
            if library.fullmatch(name):
                yield os.path.join(part, name)
        described = os.path.join(part, "pkgconfig")
        if os.path.isdir(os.path.join(python.prefix, described)):
            for name in sorted(os.listdir(os.path.join(python.prefix, described))):
                if name.startswith(f"python-{python.series}"):
                    yield os.path.join(described, name)
    for part in python.parts:
        yield from _below(python.prefix, part)


def _below(prefix: str, part: str) -> Iterator[str]:
    for directory, names, found in os.walk(os.path.join(prefix, part)):
        names[:] = sorted(name for name in names if not _LEFT_OUT.fullmatch(name))
        for name in sorted(found):
            if not _LEFT_OUT.fullmatch(name):
                yield os.path.relpath(os.path.join(directory, name), prefix)


def move(python: FoundPython, target: str) -> None:
    """Copy an installation into a directory that will be `PREFIX`."""
    os.makedirs(os.path.join(target, "bin"), exist_ok=True)
    for name in files(python):
        _copy(python, name, os.path.join(target, name))
    for program in ("python", "pip"):
        for link in (f"{program}3", program):
            os.symlink(f"{program}{python.series}", os.path.join(target, "bin", link))
    site = os.path.join(target, python.parts[0], "site-packages")
    os.makedirs(site, exist_ok=True)


def _copy(python: FoundPython, name: str, target: str) -> None:
    source = os.path.join(python.prefix, name)
    if os.path.islink(source):
        leads = os.readlink(source)
        if not leads.startswith("/") and "/" not in leads:
            os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
            os.symlink(leads, target)
            return
    with open(source, "rb") as file:
        content = file.read()
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    content = relocated(content, python.prefix.encode(), PREFIX.encode())
    if _TELLING.search(name) and python.built_for != python.prefix:
        content = relocated(content, python.built_for.encode(), PREFIX.encode())
    put(target, content, 0o755 if mode & 0o100 else 0o644)


def relocated(content: bytes, old: bytes, new: bytes) -> bytes:
    """A file's content with one directory in place of another.

    In programs a path keeps its room, and its end: the end of a text may be another text too (a
    prefix that ends with the version is where the version is kept). So there all but the last part
    of the path becomes the new one, which is only told: Python finds its files beside its program.
    """
    if content[:4] != _ELF:
        # Of a path with one part others may be the end; before any an option may stand.
        before = rb"(?<![\w./-])(-[IL])?" if old.count(b"/") == 1 else rb"()"
        path = before + re.escape(old) + rb"(?![\w.-])"
        return re.sub(path, lambda found: (found[1] or b"") + new, content)
    span = run_path(content)
    if span is not None:
        start, end = span
        text = content[start:end].replace(old, new)
        if len(text) <= end - start:
            content = content[:start] + text.ljust(end - start, b"\0") + content[end:]
    head, _, tail = old.rpartition(b"/")
    if len(new) > len(head):
        return content
    return content.replace(old, new.ljust(len(head) + 1, b"/") + tail)


def run_path(content: bytes) -> tuple[int, int] | None:
    """Where a program of 64 bits says in which directories its own libraries are, if it does.

    Returns:
        From where to where in the file; None for a program that says nothing, or is none.
    """
    if content[:6] != _ELF_64_LITTLE:
        return None
    try:
        loads, dynamic = _segments(content)
        tags = dict(_ENTRY.iter_unpack(content[dynamic[0] : dynamic[0] + dynamic[1]]))
        offset = tags.get(_RUNPATH, tags.get(_RPATH))
        if offset is None:
            return None
        address = tags[_STRINGS]
        base = next(
            place + address - low for low, place, size in loads if low <= address < low + size
        )
        start = base + offset
        return start, content.index(b"\0", start)
    except (struct.error, KeyError, OverflowError, StopIteration, ValueError):
        return None


def _segments(content: bytes) -> tuple[list[tuple[int, int, int]], tuple[int, int]]:
    """What is loaded where (address, place in the file, size), and the table for the linker."""
    (table,) = struct.unpack_from("<Q", content, 32)
    entry_size, count = struct.unpack_from("<HH", content, 54)
    loads, dynamic = [], (0, 0)
    for index in range(count):
        kind, _, place, address, _, size = _SEGMENT.unpack_from(content, table + index * entry_size)
        if kind == _LOAD:
            loads.append((address, place, size))
        elif kind == _DYNAMIC:
            dynamic = (place, size)
    return loads, dynamic
