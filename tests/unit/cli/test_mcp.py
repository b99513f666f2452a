"""What a client of `volant mcp` may ask for, and how what it is shown is made harmless."""

from __future__ import annotations

import asyncio
import dataclasses
import unicodedata

import pytest
from hypothesis import given, strategies as st

from volant.cli.commands.mcp.offer import PACKAGES_MAX, Offer
from volant.cli.commands.mcp.progress import progress
from volant.cli.commands.mcp.running import Printed
from volant.cli.commands.mcp.shown import LINE_CHARS_MAX, Kept, harmless
from volant.errors import InvalidError

OFFER = Offer(
    images=("debian", "host", "name:base:2", "localhost:5000/python:3"), allows_network=False,
    domains=(), sandboxes_max=1, memory_max_mib=512,
)  # fmt: skip


@given(st.text())
def test_no_character_of_what_is_shown_does_anything(text: str) -> None:
    shown = harmless(text)
    kinds = {unicodedata.category(one) for one in shown if one not in "\n\t"}
    assert not kinds & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(shown) & set("\u202e\u2066\u200b\ufeff\U000e0041")
    assert harmless(shown) == shown


def test_letters_of_all_scripts_stay_as_they_are() -> None:
    text = "größe 数据 données שלום 🙂 \\x1b\n\tend"
    assert harmless(text) == text


@given(st.lists(st.binary(max_size=40)), st.integers(1, 20).map(lambda half: 2 * half))
def test_the_beginning_and_the_end_are_kept(pieces: list[bytes], most: int) -> None:
    kept, whole = Kept(most), b"".join(pieces)
    for piece in pieces:
        kept.add(piece)
    assert (kept.size, kept.cut) == (len(whole), max(0, len(whole) - most))
    if not kept.cut:
        assert kept.text() == harmless(whole.decode("utf-8", "replace"))
    else:
        line = f"\n[... {kept.cut} bytes were left out here ...]\n"
        parts = whole[: most // 2], whole[-most // 2 :]
        head, tail = (harmless(part.decode("utf-8", "replace")) for part in parts)
        assert kept.text() == head + line + tail


@pytest.mark.parametrize(
    ("printed", "line"),
    [
        ([], ""),
        ([b"\n\n"], ""),
        ([b"one\ntwo\n", b"thr", b"ee \n\n"], "three"),
        ([b"10%\r20%\r"], "20%"),
        ([b"\x1b[31mred\x1b[0m\n"], "\\x1b[31mred\\x1b[0m"),
        ([b"x" * 100_000], "x" * LINE_CHARS_MAX),
        ([b"a\n" * 100_000, b"last\n"], "last"),
    ],
)
def test_the_last_line_tells_how_far_a_command_is(printed: list[bytes], line: str) -> None:
    kept = Kept()
    for piece in printed:
        kept.add(piece)
    assert kept.last_line() == line


def test_a_client_is_told_how_much_was_printed() -> None:
    printed = Printed()

    async def told() -> str:
        notes: asyncio.Queue[str] = asyncio.Queue()

        class Request:
            async def report_progress(self, seconds: float, message: str) -> None:
                notes.put_nowait(message)

        async with progress(Request(), "it runs", printed.in_words):
            return await notes.get()

    assert asyncio.run(told()) == "it runs: 0 s"
    printed.stdout.add(b"step 1\nstep 2\n")
    printed.stderr.add(b"careful\n")
    assert asyncio.run(told()) == "it runs: 0 s, 22 bytes printed, the last line: step 2"


@pytest.mark.parametrize(
    "package", ["numpy", "numpy==2.1.0", "a.b-c_d[x,y]>=1,<2", "torch~=2.5", "x!=1.*,>=0"]
)
def test_packages_are_named(package: str) -> None:
    OFFER.image("debian", None, [package])


@pytest.mark.parametrize(
    "package",
    [
        "", "-r", "--index-url=x", "numpy -i x", "numpy\n-i x", "a @ http://x", "http://x/a.whl",
        "./a", "/etc", "git+https://x", "a;b", "a==1,", "a==1 ", "a=='1'", "$(id)", "a" * 200,
    ],
)  # fmt: skip
def test_whatever_else_could_be_fetched_is_refused(package: str) -> None:
    with pytest.raises(InvalidError, match="is no package"):
        OFFER.image("debian", None, [package])


def test_what_is_not_offered_is_refused() -> None:
    assert OFFER.image(None, "3.12", ()) is not None
    for name in OFFER.images:
        OFFER.image(name, None, ())
    for asked in [
        ("alpine", None, ()),
        ("host", "3.12", ()),
        (None, None, ["a"] * PACKAGES_MAX * 2),
    ]:
        with pytest.raises(InvalidError):
            OFFER.image(*asked)
    assert OFFER.memory(None) == (64, 512)
    assert OFFER.memory(32) == (32, 32)
    for asked_mib in (0, 513):
        with pytest.raises(InvalidError):
            OFFER.memory(asked_mib)


def test_a_network_is_what_was_allowed() -> None:
    assert OFFER.network(is_blocked=True) == {"block_network": True}
    with pytest.raises(InvalidError, match="have no network"):
        OFFER.network(is_blocked=False)
    some = dataclasses.replace(OFFER, domains=("pypi.org",))
    assert some.network(is_blocked=False) == {"outbound_domain_allowlist": ("pypi.org",)}
    every = dataclasses.replace(some, allows_network=True)
    assert every.network(is_blocked=False) == {"outbound_cidr_allowlist": ("0.0.0.0/0",)}
    assert every.network(is_blocked=True) == {"block_network": True}
