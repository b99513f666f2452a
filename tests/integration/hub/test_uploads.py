"""Sources: asked for by their hash, sent in pieces, shared, and never taken on trust."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from volantd.hub import blobs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.hub.world import Client, World

SOURCE = b"def f(x):\n    return x\n" * 1000
DIGEST = sha256(SOURCE).hexdigest()


def file_of(content: bytes = SOURCE, path: str = "m.py") -> list[object]:
    return [path, 0o644, sha256(content).hexdigest(), len(content)]


def send(client: Client, content: bytes, piece: int = 1 << 20) -> None:
    digest = sha256(content).hexdigest()
    for at in range(0, max(1, len(content)), piece):
        data = content[at : at + piece]
        client.event("upload", sha256=digest, offset=at, size=len(content), data=data)


def test_only_what_is_missing_is_asked_for(world: World, client: Client):
    number = client.ask("app_open", app=_app(file_of()))
    world.turn()
    assert client.reply(number)["need"] == [DIGEST]
    send(client, SOURCE, piece=7000)
    world.turn()
    other = world.client()
    assert other.request("app_open", app=_app(file_of(), file_of(b"", "n.py")))["need"] == [
        sha256(b"").hexdigest()
    ]


def _app(*files: list[object]):
    from tests.integration.hub.players import description

    return description(files=list(files))


def test_containers_start_when_all_sources_are_there(world: World, client: Client):
    world.serve = lambda x: x
    client.open(files=[file_of(), file_of(b"", "empty.py")])
    number = client.call(1)
    assert world.containers == []
    send(client, SOURCE, piece=7000)
    world.turn()
    assert world.containers == []
    send(client, b"")
    world.turn()
    assert client.value(number) == 1
    assert world.sources == [[SOURCE, b""]]


def test_sources_of_one_client_serve_all_who_wait_for_them(world: World):
    world.serve = lambda x: x
    first, second = world.client(), world.client()
    numbers = []
    for client in (first, second):
        client.open(files=[file_of()])
        numbers.append(client.submit([1]))
    send(first, SOURCE, piece=9000)
    world.turn()
    assert (first.value(numbers[0]), second.value(numbers[1])) == (1, 1)
    send(second, SOURCE, piece=9000)  # it was asked for as well
    world.turn()
    assert not second.broken


def test_a_client_that_dies_in_the_middle_leaves_nothing_behind(world: World):
    client = world.client()
    client.open(files=[file_of()])
    client.event("upload", sha256=DIGEST, offset=0, size=len(SOURCE), data=SOURCE[:5000])
    world.turn()
    client.close()
    again = world.client()
    world.serve = lambda x: x
    again.open(files=[file_of()])
    send(again, SOURCE)
    world.turn()
    assert again.value(again.call(1)) == 1


BAD_PIECES = {
    "not what its hash says": {"data": b"x" * len(SOURCE)},
    "of a file nobody asked for": {"sha256": "0" * 64},
    "behind a gap": {"offset": 1},
    "at a negative place": {"offset": -1},
    "longer than announced": {"data": SOURCE + b"x"},
    "of another size": {"size": len(SOURCE) - 1, "data": b""},
    "of a huge size": {"size": 1 << 62},
    "of a negative size": {"size": -1},
    "that is a number": {"data": 1 << 40},
    "that is text": {"data": "x"},
    "at no number": {"offset": "0"},
    "under no hash": {"sha256": b"\x00"},
}


@pytest.mark.parametrize("fields", BAD_PIECES.values(), ids=BAD_PIECES)
def test_a_bad_piece_ends_the_connection(world: World, client: Client, fields: dict[str, object]):
    client.open(files=[file_of()])
    good: dict[str, object] = {"sha256": DIGEST, "offset": 0, "size": len(SOURCE), "data": SOURCE}
    client.event("upload", **{**good, **fields})
    world.turn()
    assert client.broken
    assert world.services.blobs.missing([DIGEST]) == {DIGEST}


BAD_FILES: dict[str, list[object]] = {
    "absolute": ["/etc/passwd", 0o644, DIGEST, 1],
    "above": ["../x.py", 0o644, DIGEST, 1],
    "above within": ["a/../../x.py", 0o644, DIGEST, 1],
    "here": ["./x.py", 0o644, DIGEST, 1],
    "empty": ["", 0o644, DIGEST, 1],
    "with a null": ["x\0.py", 0o644, DIGEST, 1],
    "short hash": ["x.py", 0o644, DIGEST[:-1], 1],
    "no hash": ["x.py", 0o644, "z" * 64, 1],
    "odd mode": ["x.py", 1 << 20, DIGEST, 1],
    "huge": ["x.py", 0o644, DIGEST, 1 << 40],
    "incomplete": ["x.py"],
}


@pytest.mark.parametrize("entry", BAD_FILES.values(), ids=BAD_FILES)
def test_a_source_that_cannot_be_is_refused_at_once(
    world: World, client: Client, entry: list[object]
):
    client.ask("app_open", app=_app(entry))
    world.turn()
    assert client.broken
    assert world.hub.apps == {}


def test_too_many_sources_are_refused(
    world: World, client: Client, monkeypatch: pytest.MonkeyPatch
):
    from volantd.hub import checks

    monkeypatch.setattr(checks, "FILES_MAX", 1)
    client.ask("app_open", app=_app(file_of(), file_of(b"", "n.py")))
    world.turn()
    assert client.broken


def test_the_sources_used_longest_ago_go_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(blobs, "BYTES_MAX", 100)
    cache = blobs.BlobCache("")
    for name in ("a", "b", "b", "c"):
        cache.add(name, bytes(40))
        cache.missing(["a"])
    assert cache.missing(["a", "b", "c"]) == {"b"}
    cache.add("d", bytes(400))
    assert cache.missing(["a", "b", "c", "d"]) == {"a", "b", "c"}


def test_large_contents_lie_in_files_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(blobs, "IN_MEMORY_MAX", 100)
    monkeypatch.setattr(blobs, "FILE_BYTES_MAX", 2 * len(SOURCE))
    upload, cache = blobs.Upload(str(tmp_path)), blobs.BlobCache(str(tmp_path))
    upload.expected[DIGEST] = len(SOURCE)
    half = len(SOURCE) // 2
    assert upload.add(DIGEST, 0, len(SOURCE), SOURCE[:half]) is None
    content = upload.add(DIGEST, half, len(SOURCE), SOURCE[half:])
    assert content is not None
    assert not isinstance(content, bytes)
    assert bytes(content) == SOURCE
    assert list(tmp_path.iterdir()) == []
    for name in ("a", "b", "c"):
        cache.add(name, content)
    assert cache.missing(["a", "b", "c"]) == {"a"}
    upload.expected[DIGEST] = len(SOURCE)
    with pytest.raises(ValueError, match="not what its hash says"):
        upload.add(DIGEST, 0, len(SOURCE), SOURCE[1:] + b"x")
