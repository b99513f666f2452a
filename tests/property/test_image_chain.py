"""Chains of images: what is the same for the same content, and what every step changes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hypothesis import given, strategies as st

from volant import FilePatternMatcher, Image
from volant.errors import InvalidError
from volant.wire import values
from volantd.images.keys import keys_of

if TYPE_CHECKING:
    from collections.abc import Callable

words = st.sampled_from(["a", "b1", "c-d", "e_f.g", "h>2", "é", "with space"])
names = st.lists(words, min_size=1, max_size=3)
variables = st.dictionaries(st.sampled_from(["A", "B_C", "_"]), words | st.just(""), max_size=2)
flags = st.booleans()

Add = tuple[str, tuple[Any, ...], dict[str, Any]]


def _call(name: str, args: st.SearchStrategy[Any], **given: st.SearchStrategy[Any]) -> Any:
    return st.tuples(st.just(name), args.map(tuple), st.fixed_dictionaries(given))


with_env = {"env": variables, "force_build": flags}
built = (
    _call("pip_install", names, pre=flags, extra_options=words, **with_env)
    | _call("uv_pip_install", names, index_url=words, uv_version=st.none() | words, **with_env)
    | _call("apt_install", names, **with_env)
    | _call("run_commands", names, **with_env)
    | _call("micromamba_install", names, channels=names, **with_env)
    | _call("dockerfile_commands", names.map(lambda some: [f"RUN {word}" for word in some]))
    | _call("env", st.tuples(st.dictionaries(words, words, min_size=1, max_size=2)))
    | _call("workdir", st.tuples(words))
    | _call("shell", st.tuples(names))
    | _call("entrypoint", st.tuples(names))
    | _call("cmd", st.tuples(names))
)
chains = st.lists(built, max_size=6)


def made(calls: list[Add]) -> Image:
    image = Image.debian_slim("3.12")
    for name, args, given_ in calls:
        image = getattr(image, name)(*args, **given_)
    return image


def canonical(image: Image) -> str:
    wire = image.to_wire()
    assert values.decode(values.encode(wire)) == wire, "it can be sent, and nothing is lost"
    return json.dumps(wire, sort_keys=True)


@given(chains)
def test_the_same_calls_make_the_same_image(calls: list[Add]):
    """Behaviour 80."""
    assert canonical(made(calls)) == canonical(made(calls))


@given(chains, built)
def test_every_step_changes_the_image_and_not_what_it_follows(calls: list[Add], more: Add):
    """Behaviour 80: one step more, the others as they were."""
    image = made(calls)
    before = canonical(image)
    name, args, given_ = more
    longer = getattr(image, name)(*args, **given_)
    assert canonical(image) == before
    steps: Any = image.to_wire()["steps"]
    more_steps: Any = longer.to_wire()["steps"]
    assert more_steps[:-1] == steps
    assert len(more_steps) == len(steps) + 1


@given(chains)
def test_what_is_not_asked_for_is_not_said(calls: list[Add]):
    """The keys of steps do not depend on whether an empty argument was written."""
    steps: Any = made(calls).to_wire()["steps"]
    for step in steps:
        assert step.get("force", True) is True
        assert step.get("env") != {}
        assert "secrets" not in step


trees = st.dictionaries(
    st.lists(st.text("ab.c", min_size=1, max_size=3), min_size=1, max_size=3).map("/".join),
    st.binary(max_size=20),
    max_size=6,
).filter(
    lambda tree: (
        not any(part in (".", "..") for name in tree for part in name.split("/"))
        and not any(other.startswith(f"{name}/") for name in tree for other in tree)
    )
)


def _write(root: Path, tree: dict[str, bytes]) -> None:
    for name, content in tree.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


@given(trees, flags)
def test_equal_content_gives_equal_steps_wherever_it_lies(tree: dict[str, bytes], copy: bool):
    """Whatever the directory is called, and in whatever order its files were written."""
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        _write(Path(one), tree)
        _write(Path(other), dict(reversed(tree.items())))
        images = [
            Image.debian_slim("3.12").add_local_dir(place, "/d", copy=copy)
            for place in (one, other)
        ]
        assert canonical(images[0]) == canonical(images[1])
        described = images[0].described()
        wire: Any = described.wire
        files = wire["steps"][1]["files"] if copy else wire["attached"]
        assert [path for path, *_ in files] == sorted(f"/d/{name}" for name in tree)
        for path, _, digest, size in files:
            content = Path(str(described.contents[digest])).read_bytes()
            assert content == tree[path.removeprefix("/d/")]
            assert len(content) == size


def _key(root: str) -> str:
    image = Image.debian_slim("3.12").add_local_dir(root, "/d", copy=True)
    steps: Any = image.to_wire()["steps"]
    return keys_of(steps)[-1]


@given(trees, trees, flags)
def test_keys_are_equal_if_and_only_if_the_content_is(
    tree: dict[str, bytes], another: dict[str, bytes], is_same: bool
):
    """Issue 3: names, bytes, and who may execute them; nothing else of a directory."""
    second = tree if is_same else another
    with TemporaryDirectory() as one, TemporaryDirectory() as other:
        _write(Path(one), tree)
        _write(Path(other), second)
        assert (_key(one) == _key(other)) is (tree == second)
        for name in sorted(second)[:1]:
            before = _key(other)
            (Path(other) / name).chmod(0o755)
            assert _key(other) != before
            (Path(other) / name).chmod(0o644)
            os.utime(Path(other) / name, (1, 1))
            assert _key(other) == before


@given(trees.filter(bool), st.data())
def test_every_change_of_content_changes_the_step(tree: dict[str, bytes], data: st.DataObject):
    name = data.draw(st.sampled_from(sorted(tree)))
    with TemporaryDirectory() as place:
        _write(Path(place), tree)
        image = Image.debian_slim("3.12").add_local_dir(place, "/d", copy=True)
        before = canonical(image)
        _write(Path(place), {name: tree[name] + b"more"})
        assert canonical(image) != before


patterns = st.lists(st.text("ab*?/!.[]\\-", max_size=6), max_size=4)
paths = st.lists(st.text("ab.", min_size=1, max_size=3), min_size=1, max_size=4).map("/".join)


@given(patterns, paths)
def test_any_pattern_is_one_or_is_refused(some: list[str], path: str):
    """And what is said to cover a directory matches all that is below."""
    decide: Callable[[str], bool]
    try:
        matcher = FilePatternMatcher(*some)
        decide = matcher.matches
        result = decide(path)
    except InvalidError:
        return
    assert (~matcher).matches(path) is not result
    if matcher.covers(path):
        assert decide(f"{path}/b")
