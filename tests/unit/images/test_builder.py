"""The builder: what is built, what is taken from before, and what failures leave."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from volant.errors import ImageBuildError
from volantd.images.builder import Builder
from volantd.images.steps.plain import COPY_TIME_S
from volantd.images.store import Store
from volantd.images.workbench import PATH

if TYPE_CHECKING:
    from tests.unit.images.registry_server import Registry
    from volantd.images.builder import Built
    from volantd.images.workbench import Command, Say

SCRATCH = {"kind": "scratch"}
CONTENT = {"1" * 64: b"one", "2" * 64: b"two"}


def run(*commands: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "run", "commands": list(commands), **fields}


PYTHON = run("python")


def make_file(output: str, name: str) -> None:
    target = Path(output, "diff", name)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch()


class Bench:
    """A builder whose steps are played: a command is the name of a file that comes to be."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.store = Store(str(home))
        self.store.open()
        self.builder = Builder(self.store, self.run_step, self.content)
        self.ran: list[tuple[str, dict[str, str], tuple[str, ...]]] = []
        self.said = b""
        #: Held closed, steps wait.
        self.gate = asyncio.Event()
        self.gate.set()
        self.began = asyncio.Event()

    async def content(self, digest: str) -> bytes:
        return CONTENT[digest]

    async def run_step(self, command: Command, say: Say) -> int:
        name = command.argv[-1]
        self.ran.append((name, command.env, command.layers))
        say(f"{name} runs\n".encode())
        self.began.set()
        await self.gate.wait()
        if name == "fails":
            return 3
        make_file(command.output, "usr/bin/python3" if name == "python" else name)
        return 0

    def hear(self, data: bytes) -> None:
        self.said += data

    async def build(self, *steps: dict[str, Any], wish: str = "") -> Built:
        return await self.builder.build([SCRATCH, PYTHON, *steps], self.hear, wish=wish)

    @property
    def commands(self) -> list[str]:
        return [command for command, _, _ in self.ran]

    def left(self) -> list[str]:
        return os.listdir(self.home / "images/work")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_steps_are_built_one_on_the_other(bench: Bench) -> None:
    built = asyncio.run(bench.build(run("a"), run("b")))
    assert bench.commands == ["python", "a", "b"]
    assert [len(layers) for _, _, layers in bench.ran] == [0, 1, 2]
    assert [os.listdir(layer) for layer in built.layers] == [["usr"], ["a"], ["b"]]
    assert built.python == "/usr/bin/python3"
    assert b"step 3 of 4: run" in bench.said
    assert b"a runs" in bench.said
    assert bench.left() == []


def test_what_is_here_is_not_built_again(bench: Bench) -> None:
    first = asyncio.run(bench.build(run("a"), run("b")))
    bench.ran.clear()
    bench.said = b""
    assert asyncio.run(bench.build(run("a"), run("b"))) == first
    assert bench.ran == []
    assert bench.said == b""


def test_images_share_the_steps_that_they_begin_with(bench: Bench) -> None:
    one = asyncio.run(bench.build(run("a"), run("b")))
    other = asyncio.run(bench.build(run("a"), run("c")))
    assert one.layers[:-1] == other.layers[:-1]
    assert bench.commands == ["python", "a", "b", "c"]


def test_a_changed_step_and_all_later_ones_are_built_anew(bench: Bench) -> None:
    asyncio.run(bench.build(run("a"), run("b")))
    bench.ran.clear()
    asyncio.run(bench.build(run("x"), run("b")))
    assert bench.commands == ["x", "b"]


def test_a_forced_step_and_all_later_ones_are_built_anew(bench: Bench) -> None:
    """Behaviour 83."""
    first = asyncio.run(bench.build(run("a"), run("b")))
    bench.ran.clear()
    again = asyncio.run(bench.build(run("a", force=True), run("b")))
    assert bench.commands == ["a", "b"]
    assert again.image_id == first.image_id
    assert again.layers[0] == first.layers[0]
    assert not set(again.layers[1:]) & set(first.layers), "containers may run on those"
    assert all(map(os.path.isdir, first.layers))
    assert asyncio.run(bench.build(run("a"), run("b"))) == again, "it is what is there now"
    assert bench.left() == []


def test_an_image_is_built_anew_on_a_step_that_was(bench: Bench) -> None:
    """Behaviour 83: one built on the old layers is not what its steps make now."""
    asyncio.run(bench.build(run("a"), run("b")))
    asyncio.run(bench.build(run("a", force=True)))
    bench.ran.clear()
    built = asyncio.run(bench.build(run("a"), run("b")))
    assert bench.commands == ["b"]
    assert built.layers[1].endswith(".1/diff")


def test_one_wish_for_a_forced_build_is_granted_once(bench: Bench) -> None:
    steps = run("a", force=True), run("b")
    asyncio.run(bench.build(*steps, wish="one"))
    asyncio.run(bench.build(*steps, wish="one"))
    assert bench.commands == ["python", "a", "b"]
    asyncio.run(bench.build(*steps, wish="other"))
    assert bench.commands == ["python", "a", "b", "a", "b"]


def test_many_wishes_for_a_forced_build_at_once_are_one(bench: Bench) -> None:
    """Also of who comes when some of its steps are done."""

    async def ask() -> list[Built]:
        bench.gate.clear()
        steps = run("a", force=True), run("b", force=True)
        first = asyncio.create_task(bench.build(*steps, wish="1"))
        while "b" not in bench.commands:
            bench.gate.set()
            await bench.began.wait()
            bench.began.clear()
            bench.gate.clear()
        second = asyncio.create_task(bench.build(*steps, wish="2"))
        await asyncio.wait([second], timeout=0)
        bench.gate.set()
        return await asyncio.gather(first, second)

    one, other = asyncio.run(ask())
    assert one == other
    assert bench.commands == ["python", "a", "b"]


def test_many_who_ask_at_once_have_it_built_once(bench: Bench) -> None:
    async def ask() -> list[Built]:
        return await asyncio.gather(*[bench.build(run("a")) for _ in range(5)])

    assert len(set(map(repr, asyncio.run(ask())))) == 1
    assert bench.commands == ["python", "a"]
    assert bench.said.count(b"a runs") == 5, "everybody hears of it"


def test_who_stops_waiting_does_not_stop_it_for_others(bench: Bench) -> None:
    async def ask() -> Built:
        bench.gate.clear()
        first = asyncio.create_task(bench.build(run("a")))
        second = asyncio.create_task(bench.build(run("a")))
        await bench.began.wait()
        first.cancel()
        await asyncio.wait([first])
        bench.gate.set()
        return await second

    assert len(asyncio.run(ask()).layers) == 2
    assert bench.commands == ["python", "a"]


def test_a_failed_step_says_what_it_printed_and_leaves_nothing(bench: Bench) -> None:
    """Behaviour 87."""
    with pytest.raises(ImageBuildError) as caught:
        asyncio.run(bench.build(run("a"), run("fails"), run("b")))
    assert "`fails` ended with exit code 3" in caught.value.message
    assert "fails runs" in caught.value.message
    assert "im-" in caught.value.message
    assert caught.value.image_id in caught.value.message
    assert caught.value.image_id in (caught.value.hint or "")
    assert bench.commands == ["python", "a", "fails"]
    assert bench.left() == []
    with pytest.raises(ImageBuildError):
        asyncio.run(bench.build(run("a"), run("fails")))
    assert bench.commands == ["python", "a", "fails", "fails"], "it is tried again"


def test_a_build_that_nobody_waits_for_any_more_leaves_what_is_finished(bench: Bench) -> None:
    async def scenario() -> None:
        await bench.build(run("a"))
        bench.gate.clear()
        bench.began.clear()
        builds = [asyncio.ensure_future(bench.build(run("a"), run("b"))) for _ in range(2)]
        await bench.began.wait()
        for number, build in enumerate(builds):
            assert len(bench.builder.benches) == 1, f"{number} of those who wait have gone"
            build.cancel()
            await asyncio.wait([build])
        assert bench.builder.benches == {}
        assert bench.builder.builds == set()
        bench.gate.set()
        await bench.build(run("a"), run("b"))

    asyncio.run(scenario())
    assert bench.commands == ["python", "a", "b", "b"]
    assert bench.left() == []


def test_a_step_that_was_cancelled_says_so(bench: Bench) -> None:
    async def scenario() -> None:
        bench.gate.clear()
        build = asyncio.ensure_future(bench.build(run("a")))
        await bench.began.wait()
        build.cancel()
        await asyncio.wait([build])

    asyncio.run(scenario())
    (draft,) = bench.store.books.drafts.values()
    assert draft.error == "it was ended, because nobody waited for it any more"
    (key,) = bench.store.books.drafts
    log = Path(bench.store.books.log_path(key)).read_text()
    assert log.splitlines() == ["python runs", f"volant: {draft.error}"]


def test_settings_are_for_later_steps_and_for_containers(bench: Bench) -> None:
    env = {"kind": "env", "variables": {"A": "1", "LANG": "de"}}
    shell = {"kind": "shell", "words": ["/bin/bash", "-c"]}
    built = asyncio.run(bench.build(run("a"), env, shell, run("b", env={"B": "2"})))
    (_, before, _), (_, after, _) = bench.ran[1:]
    assert "A" not in before
    assert (after["A"], after["B"], after["LANG"], after["PATH"]) == ("1", "2", "de", PATH)
    assert built.env == {"A": "1", "LANG": "de"}
    assert len(built.layers) == 3, "settings have no layer"


def test_files_are_copied_through_the_links_of_the_image(bench: Bench, tmp_path: Path) -> None:
    first = asyncio.run(bench.build(run("a")))
    Path(first.layers[-1], "opt").symlink_to("usr/share")
    built = asyncio.run(
        bench.build(
            run("a"),
            {"kind": "copy", "files": [["/opt/x/one", 0o755, "1" * 64, 3]]},
            {"kind": "copy", "files": [["/two", 0o640, "2" * 64, 3]]},
        )
    )
    *_, one, two = built.layers
    copied = Path(one, "usr/share/x/one")
    assert copied.read_bytes() == b"one"
    assert copied.stat().st_mode & 0o777 == 0o755
    assert copied.stat().st_mtime == COPY_TIME_S
    assert Path(two, "two").stat().st_mode & 0o777 == 0o640


def test_a_copy_into_a_circle_of_links_is_refused(bench: Bench) -> None:
    first = asyncio.run(bench.build(run("a")))
    Path(first.layers[-1], "opt").symlink_to("opt")
    copy = {"kind": "copy", "files": [["/opt/x", 0o644, "1" * 64, 3]]}
    with pytest.raises(ImageBuildError, match="circle of links"):
        asyncio.run(bench.build(run("a"), copy))
    assert bench.left() == []


def test_an_image_without_python_can_be_built_but_not_run(bench: Bench) -> None:
    built = asyncio.run(bench.builder.build([SCRATCH, run("a")], bench.hear))
    with pytest.raises(ImageBuildError, match="no Python"):
        assert built.python


def test_an_image_that_a_registry_does_not_have_fails_the_build(
    bench: Bench, registry: Registry
) -> None:
    base = {"kind": "registry", "reference": f"{registry.host}/x:absent"}
    with pytest.raises(ImageBuildError, match="absent"):
        asyncio.run(bench.builder.build([base], bench.hear))
    assert bench.left() == []
