"""Programs of this machine that building needs."""

from __future__ import annotations

import asyncio

import pytest

from volant.errors import ImageBuildError
from volantd.images.programs import output_of


def test_what_it_prints_is_returned_and_heard() -> None:
    heard: list[bytes] = []
    printed = asyncio.run(output_of("sh", "-c", "echo out; echo err >&2", say=heard.append))
    assert printed == "out\n"
    assert sorted(b"".join(heard).splitlines()) == [b"err", b"out"]


def test_one_that_fails_says_why() -> None:
    with pytest.raises(ImageBuildError, match=r"`sh -c .*exit code 3: because"):
        asyncio.run(output_of("sh", "-c", "echo because >&2; exit 3"))


def test_one_that_is_not_there_is_named() -> None:
    with pytest.raises(ImageBuildError, match="nonexistent-program"):
        asyncio.run(output_of("nonexistent-program"))


def test_one_that_takes_too_long_is_ended() -> None:
    with pytest.raises(ImageBuildError, match=r"took longer than 0\.05 s"):
        asyncio.run(output_of("cat", "/dev/zero", timeout_s=0.05))
