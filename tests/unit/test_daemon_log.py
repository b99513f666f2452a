"""The daemon's log stays bounded, and whoever reads or follows it misses nothing."""

from __future__ import annotations

import json
import logging
import os
import stat
from typing import TYPE_CHECKING

import pytest

from volant.channel.daemon import LOG_NAME, OLDER_LOG_NAME
from volant.cli.commands import server
from volantd.daemon_log import BoundedFile, JsonLines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BYTES_MAX = 2000


@pytest.fixture
def raw_fd() -> Iterator[int]:
    """A descriptor that stands for the daemon's standard error."""
    fd = os.open(os.devnull, os.O_WRONLY)
    yield fd
    os.close(fd)


@pytest.fixture
def file(tmp_path: Path, raw_fd: int) -> Iterator[BoundedFile]:
    handler = BoundedFile(str(tmp_path / LOG_NAME), BYTES_MAX, (raw_fd,))
    handler.setFormatter(JsonLines())
    yield handler
    handler.close()


def write(file: BoundedFile, *numbers: int) -> None:
    for number in numbers:
        record = logging.LogRecord("volantd", logging.INFO, "", 0, f"event_{number}", (), None)
        file.handle(record)


def events(text: str) -> list[str]:
    return [json.loads(line)["event"] for line in text.splitlines()]


def test_two_files_are_all_there_ever_is(file: BoundedFile, tmp_path: Path) -> None:
    write(file, *range(500))
    assert sorted(path.name for path in tmp_path.iterdir()) == [LOG_NAME, OLDER_LOG_NAME]
    for path in tmp_path.iterdir():
        assert 0 < path.stat().st_size <= BYTES_MAX
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = events((tmp_path / OLDER_LOG_NAME).read_text() + (tmp_path / LOG_NAME).read_text())
    assert kept == [f"event_{number}" for number in range(500 - len(kept), 500)]


def test_raw_output_counts_and_follows(file: BoundedFile, raw_fd: int, tmp_path: Path) -> None:
    os.write(raw_fd, b"x" * BYTES_MAX + b"\n")
    write(file, 1)
    os.write(raw_fd, b"Fatal Python error\n")
    assert (tmp_path / OLDER_LOG_NAME).read_text() == "x" * BYTES_MAX + "\n"
    assert (tmp_path / LOG_NAME).read_text().endswith("}\nFatal Python error\n")


def test_a_follower_misses_nothing(file: BoundedFile, tmp_path: Path) -> None:
    path = tmp_path / LOG_NAME
    write(file, 0)
    lines = server.follow_lines(path.open("rb"), str(path))
    seen = []
    for first in range(1, 200, 10):  # fewer than fill a file, so that none is dropped unseen
        write(file, *range(first, first + 10))
        seen += [next(lines).decode() for _ in range(10)]
    assert (tmp_path / OLDER_LOG_NAME).exists()
    assert events("".join(seen)) == [f"event_{number}" for number in range(len(seen))]
    lines.close()


def test_the_last_lines_may_lie_in_the_older_file(
    file: BoundedFile,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    number = 0
    while not (tmp_path / OLDER_LOG_NAME).exists():
        write(file, number)
        number += 1
    monkeypatch.setenv("VOLANT_HOME", str(tmp_path))
    server.logs.main(["--json", "--tail", "5"], standalone_mode=False)
    wanted = [f"event_{one}" for one in range(number - 5, number)]
    assert events(capsys.readouterr().out) == wanted
