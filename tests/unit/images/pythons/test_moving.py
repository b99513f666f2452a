"""An installation of Python at another place: its texts, its programs, and what is left out."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from volantd.images.pythons.moving import relocated, run_path

OLD, NEW = b"/opt/somewhere/versions/3.12.1", b"/usr/local"


def test_a_text_says_the_new_place_wherever_it_said_the_old_one() -> None:
    text = b"prefix=%s\ninclude=-I%s/include\nother=%s-dev\n" % (OLD, OLD, OLD)
    assert relocated(text, OLD, NEW) == (
        b"prefix=/usr/local\ninclude=-I/usr/local/include\nother=%s-dev\n" % OLD
    )


def test_a_path_that_only_ends_like_the_old_one_is_another() -> None:
    text = b"INSTALL=/usr/bin/install -c\nprefix='/install'\nCFLAGS=-I/install/include -Wl,/install"
    assert relocated(text, b"/install", NEW) == (
        b"INSTALL=/usr/bin/install -c\nprefix='/usr/local'\n"
        b"CFLAGS=-I/usr/local/include -Wl,/usr/local"
    )


def test_a_program_keeps_its_size_and_the_ends_of_its_texts() -> None:
    """The end of a prefix may be where the version is kept: linkers share texts that end alike."""
    program = b"\x7fELF....\0%s\0%s/lib\0more" % (OLD, OLD)
    moved = relocated(program, OLD, NEW)
    assert len(moved) == len(program)
    assert OLD not in moved
    assert moved.endswith(b"/3.12.1\0/usr/local/" + b"/" * 13 + b"3.12.1/lib\0more")


def test_a_program_without_room_stays_as_it_is() -> None:
    program = b"\x7fELF....\0/py/3.12\0"
    assert relocated(program, b"/py/3.12", NEW) == program


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A real library that looks for others where it says."""
    if not Path(sysconfig.get_config_var("LIBDIR"), "libpython3.so").exists():
        pytest.skip("this Python has no shared library")
    return Path(sys.executable).resolve()


def test_where_a_real_program_looks_for_its_libraries_is_moved(library: Path) -> None:
    content = library.read_bytes()
    span = run_path(content)
    assert span is not None
    told = content[span[0] : span[1]]
    assert told == sysconfig.get_config_var("LIBDIR").encode()
    moved = relocated(content, told.removesuffix(b"/lib"), NEW)
    start = span[0]
    assert moved[start : moved.index(b"\0", start)] == NEW + b"/lib"


@pytest.mark.parametrize("content", [b"", b"\x7fELF\x02\x01", b"\x7fELF\x02\x01" + b"\xff" * 80])
def test_what_is_no_whole_program_says_nothing(content: bytes) -> None:
    assert run_path(content) is None


def test_a_moved_program_still_runs(library: Path, tmp_path: Path) -> None:
    moved = tmp_path / "python"
    moved.write_bytes(relocated(library.read_bytes(), OLD, NEW))
    moved.chmod(0o755)
    ran = subprocess.run([moved, "-c", "print(1)"], capture_output=True, text=True, check=True)
    assert ran.stdout == "1\n"
