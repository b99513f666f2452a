"""What the hub takes of a client's description of an image."""

from __future__ import annotations

from typing import Any

import pytest

from volant.errors import UnimplementedError
from volantd.images import described

DIGEST = "0" * 64
FILE = ["/root/data/x", 0o644, DIGEST, 3]
BASE = {"kind": "registry", "reference": "localhost:5000/x"}


def image(*steps: Any, attached: Any = (), **fields: Any) -> dict[str, Any]:
    return {
        "kind": "built",
        "steps": [BASE, *steps],
        "attached": list(attached),
        "contents": {},
        "secrets": {},
        **fields,
    }


CALL = {"kind": "function", "digest": DIGEST, "module": "m", "qualname": "f", "is_async": False}
CALL_FIELDS = {"payload": DIGEST, "timeout_s": 5, "cpu_limit": None, "memory_limit_mib": None}
INDEX = {
    "find_links": None, "index_url": None, "extra_index_url": None, "pre": False,
    "extra_options": "--no-deps",
}  # fmt: skip
PIP = {"kind": "pip", "packages": ["a"], "requirements": None, **INDEX, "installer": "uv"}
PRIVATE = {"kind": "private_repos", "repositories": ["github.com/a/b"], "git_user": "c", **INDEX}
UV_SYNC = {
    "kind": "uv_sync", "pyproject": DIGEST, "lock": None, "groups": [], "extras": ["x"],
    "frozen": True, "extra_options": "", "uv_version": "0.9.1",
}  # fmt: skip
POETRY = {
    "kind": "poetry", "pyproject": DIGEST, "lock": DIGEST, "with": [], "without": [], "only": [],
    "poetry_version": None, "old_installer": False,
}  # fmt: skip
VOLUME = {"path": "/data", "volume": "vo-1", "sub_path": "", "read_only": False}
GOOD = image(
    PIP,
    {**PIP, "requirements": DIGEST, "index_url": "https://x", "uv_version": "1.0"},
    PRIVATE,
    UV_SYNC,
    {**POETRY, "poetry_version": "latest"},
    CALL,
    {"kind": "dockerfile", "commands": ["COPY a /a"], "files": [["a", 0o644, "2" * 64, 7]]},
    {"kind": "run", "commands": ["true"], "env": {"A": "1"}, "volumes": [VOLUME]},
    {"kind": "copy", "files": [["/opt/x", 0o755, "1" * 64, 5]]},
    {"kind": "env", "variables": {"B": ""}},
    {"kind": "shell", "words": ["/bin/bash", "-c"]},
    {"kind": "cmd", "words": []},
    attached=[FILE],
    calls={DIGEST: CALL_FIELDS},
    contents={"3" * 64: 9},
    secrets={"1": {"secrets": {"A": "1"}}},
)


def test_what_can_be_built_is_taken() -> None:
    described.check(GOOD)
    assert described.sizes(GOOD) == {DIGEST: 3, "1" * 64: 5, "2" * 64: 7, "3" * 64: 9}
    assert described.attached(GOOD) == [["data/x", 0o644, DIGEST, 3]]


def test_files_attached_outside_of_the_sources_are_a_last_step() -> None:
    elsewhere = ["/opt/x", 0o644, DIGEST, 3]
    given = image(attached=[FILE, elsewhere])
    described.check(given)
    assert described.steps(given) == [BASE, {"kind": "copy", "files": [elsewhere]}]
    assert described.attached(given) == [["data/x", 0o644, DIGEST, 3]]
    assert described.steps(image(attached=[FILE])) == [BASE]
    large = ["/root/large", 0o644, DIGEST, described.ATTACHED_BYTES_MAX]
    given = image(attached=[FILE, large])
    assert described.steps(given) == [BASE, {"kind": "copy", "files": [FILE, large]}]
    assert described.attached(given) == []


def test_the_hosts_image_needs_nothing() -> None:
    assert described.sizes({"kind": "host"}) == {}
    assert described.attached({"kind": "host"}) == []


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (image({"kind": "registry", "reference": "x"}), "`registry`"),
        ({"kind": "built", "steps": [{"kind": "gone"}], "attached": []}, "`gone`"),
    ],
)
def test_what_cannot_be_built_yet_is_named(given: dict[str, Any], named: str) -> None:
    with pytest.raises(UnimplementedError, match=named):
        described.check(given)


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "other", "steps": [BASE], "attached": []},
        {"kind": "built", "steps": [], "attached": []},
        {"kind": "built", "steps": [BASE] * 501, "attached": []},
        {"kind": "built", "steps": "x", "attached": []},
        image({"kind": 7}),
        image({"kind": "run", "commands": "x"}),
        image({"kind": "run", "commands": ["x"], "volumes": "x"}),
        image({"kind": "run", "commands": ["x"], "volumes": [VOLUME, VOLUME]}),
        image({"kind": "run", "commands": ["x"], "volumes": [{**VOLUME, "path": "/proc/1"}]}),
        image({"kind": "run", "commands": ["x"], "volumes": [{**VOLUME, "path": "/a/../b"}]}),
        image({"kind": "run", "commands": ["x"], "volumes": [{**VOLUME, "volume": 7}]}),
        image({"kind": "run", "commands": ["x"], "volumes": [{**VOLUME, "read_only": 0}]}),
        image({**PIP, "packages": ["--target=/"]}),
        image({**PIP, "packages": ["a\n--target=/"]}),
        image({**PIP, "requirements": "/etc/passwd"}),
        image({**PIP, "index_url": 7}),
        image({**PIP, "extra_options": "'"}),
        image({**PIP, "uv_version": "1 --with evil"}),
        image({**PRIVATE, "repositories": ["example.org/a/b"]}),
        image({**PRIVATE, "repositories": ["github.com/a/b\nc"]}),
        image({**UV_SYNC, "pyproject": "x"}),
        image({**UV_SYNC, "groups": ["--all-groups"]}),
        image({**UV_SYNC, "frozen": 1}),
        image({**POETRY, "lock": "x"}),
        image({**POETRY, "only": ["-v"]}),
        image({**POETRY, "poetry_version": "--with"}),
        image({"kind": "run", "commands": [7]}),
        image({"kind": "run", "commands": ["a\0b"]}),
        image({"kind": "run", "commands": [], "env": {"A": 1}}),
        image({"kind": "apt", "packages": ["--option"]}),
        image({"kind": "apt", "packages": ["two words"]}),
        image({"kind": "apt", "packages": "git"}),
        image(steps=[{"kind": "debian_slim", "python": "3.9"}]),
        image(steps=[{"kind": "debian_slim", "python": 3.12}]),
        image(steps=[{**BASE, "add_python": "2.7"}]),
        image({"kind": "env", "variables": []}),
        image({"kind": "env", "variables": {"A=B": ""}}),
        image({"kind": "env", "variables": {"": "x"}}),
        image({"kind": "copy", "files": [["relative", 0o644, DIGEST, 1]]}),
        image({"kind": "copy", "files": [["/a/../../etc/x", 0o644, DIGEST, 1]]}),
        image({"kind": "copy", "files": [["/a//b", 0o644, DIGEST, 1]]}),
        image({"kind": "copy", "files": [["/a\0", 0o644, DIGEST, 1]]}),
        image({"kind": "copy", "files": [["/a", 0o4755, DIGEST, 1]]}),
        image({"kind": "copy", "files": [["/a", True, DIGEST, 1]]}),
        image({"kind": "copy", "files": [["/a", 0o644, "../../x", 1]]}),
        image({"kind": "copy", "files": [["/a", 0o644, DIGEST, -1]]}),
        image({"kind": "copy", "files": [["/a", 0o644, DIGEST]]}),
        image({"kind": "run", "commands": [], "secrets": [7]}),
        image({"kind": "run", "commands": [], "secrets": ["A=B"]}),
        image({"kind": "workdir", "path": "relative"}),
        image({"kind": "shell", "words": []}),
        image({"kind": "dockerfile", "commands": ["ENV A=1"], "files": [["/../x", 0, DIGEST, 1]]}),
        image({"kind": "function", "digest": "x", "module": "m", "qualname": "f"}),
        image(steps=[{**BASE, "auth": "secret"}]),
        image(attached=["x"]),
        image(contents={DIGEST: -1}),
        image(contents={"x": 1}),
        image(secrets={"0": []}),
        image(secrets={"0": {"auth": {"A": 1}}}),
        image(CALL),
        image(CALL, calls=[]),
        image(CALL, calls={DIGEST: []}),
        image(CALL, calls={DIGEST: {**CALL_FIELDS, "timeout_s": -1}}),
        image(CALL, calls={DIGEST: {**CALL_FIELDS, "payload": "/etc/shadow"}}),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # the peer is told the text, whatever it is
        described.check(given)


@pytest.mark.parametrize("missing", ["steps", "attached"])
def test_a_missing_field_is_refused(missing: str) -> None:
    given = {name: value for name, value in GOOD.items() if name != missing}
    with pytest.raises(KeyError):
        described.check(given)
