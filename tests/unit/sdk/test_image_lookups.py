"""What an image does beside its steps: imports that may fail, hydration, copies."""

from __future__ import annotations

import copy
import pickle
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import volant
from volant import Image, _context
from volant.errors import ExecutionError, InvalidError
from volant.runner import loading
from volant.sdk.deploying import contents
from volant.sdk.deploying.contents import _offsets
from volant.sdk.images.host import host_wire
from volant.sdk.running import RunningApp
from volant.sdk.sources import Sources

if TYPE_CHECKING:
    from pathlib import Path

BASE = Image.debian_slim("3.12")


def test_an_import_that_fails_elsewhere_is_passed_over() -> None:
    """Behaviour 78."""
    with BASE.imports():
        import not_there_at_all  # type: ignore[import-not-found]  # noqa: F401


def test_any_other_exception_elsewhere_is_a_warning() -> None:
    """Behaviour 78."""
    with (
        pytest.warns(UserWarning, match=r"ValueError\('odd'\) in a block of image\.imports"),
        BASE.imports(),
    ):
        raise ValueError("odd")


def test_what_is_no_failure_of_an_import_passes_through() -> None:
    with pytest.raises(KeyboardInterrupt), BASE.imports():
        raise KeyboardInterrupt


def test_an_import_that_works_is_there_afterwards() -> None:
    with BASE.imports():
        import string
    assert string.digits


def test_a_container_of_the_image_raises_and_others_do_not(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behaviour 78: which image a container has is known when its function is."""
    (project / "two_images.py").write_text(
        "import volant\n"
        "one = volant.Image.debian_slim('3.12').pip_install('a')\n"
        "other = one.pip_install('b')\n"
        "app = volant.App('two', image=other)\n"
        "with one.imports():\n"
        "    import not_there_at_all\n"
        "@app.function(image=one)\n"
        "def inside(): pass\n"
        "@app.function()\n"
        "def outside(): pass\n"
    )
    monkeypatch.setattr(_context, "container_id", "ta-1")
    described = {"serialized": None, "module": "two_images", "name": "", "methods": []}
    assert loading.resolve({**described, "qualname": "outside"})() is None
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        loading.resolve({**described, "qualname": "inside"})


@pytest.mark.parametrize("image", [BASE, Image.from_scratch().env({"A": "1"})])
def test_an_image_that_has_to_be_built_cannot_be_hydrated(image: Image) -> None:
    """Behaviour 81."""
    with pytest.raises(ExecutionError, match="cannot be hydrated by itself") as refused:
        image.hydrate()
    assert "run an app" in str(refused.value.hint)


async def _hydrated(image: Image) -> Image:
    return await image.hydrate.aio()


def test_the_host_image_needs_no_building() -> None:
    import asyncio

    image = Image.host()
    assert image.hydrate() is image
    assert asyncio.run(_hydrated(image)) is image
    assert image.to_wire() == host_wire()
    with pytest.raises(ExecutionError):
        asyncio.run(_hydrated(BASE))


def test_what_needs_a_name_or_an_app_is_checked_where_it_is_written() -> None:
    with pytest.raises(InvalidError, match=r"app must be a volant\.App"):
        BASE.build("app")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(InvalidError, match="cannot be the name of an image"):
        BASE.publish("im-1")
    with pytest.raises(InvalidError, match=r"Image\.host\(\) cannot be published"):
        Image.host().publish("base")
    with pytest.raises(InvalidError, match="cannot be the name of an environment"):
        BASE.publish("base", environment_name="d/ev")
    with pytest.raises(ExecutionError, match="has no log that could be found"):
        BASE.logs.tail()
    with pytest.raises(InvalidError, match="layers must be 1 or more"):
        BASE.logs.fetch(layers=0)


def test_an_image_has_an_id_once_the_daemon_has_told_it() -> None:
    assert Image.host().object_id is None
    assert BASE.object_id is None


def test_settings_rebuild_what_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behaviour 83: the first step and with it all later ones, or none of what is looked up."""
    built, found = Image.from_scratch().env({"A": "1"}), Image.from_name("base").env({"A": "1"})
    assert "force" not in steps_of(built)[0]
    monkeypatch.setenv("VOLANT_FORCE_BUILD", "1")
    assert [step.get("force") for step in steps_of(built)] == [True, None]
    assert [step.get("force") for step in steps_of(found)] == [None, True]
    monkeypatch.setenv("VOLANT_IGNORE_CACHE", "1")
    first, second = steps_of(built), steps_of(built)
    assert first[0]["apart"] != second[0]["apart"]
    assert "force" not in first[0]
    assert steps_of(found)[0].keys() == {"kind", "name", "tag"}


def steps_of(image: Image) -> list[dict[str, Any]]:
    steps: Any = image.to_wire()["steps"]
    return list(steps)


@pytest.mark.parametrize("image", [Image.host(), BASE.pip_install("a")])
def test_a_copy_is_the_same_image(image: Image, project: Path) -> None:
    for other in (copy.copy(image), copy.deepcopy(image), pickle.loads(pickle.dumps(image))):
        assert other.to_wire() == image.to_wire()
        assert repr(other) == repr(image)


def test_an_image_with_local_files_can_be_pickled(project: Path) -> None:
    """It may be a global of a function that is sent by value."""
    image = (
        BASE.add_local_dir("site", "/s", ignore=["*.tmp"], copy=True)
        .pip_install_from_requirements("more.txt")
        .dockerfile_commands("COPY more.txt /m")
    )
    assert pickle.loads(pickle.dumps(image)).to_wire() == image.to_wire()


def test_an_image_is_shown_by_its_base_and_what_is_on_it(project: Path) -> None:
    image = BASE.pip_install("a")
    assert repr(image) == "<volant.Image of debian_slim and 1 step>"
    image = image.apt_install("b").add_local_file("more.txt", "/m")
    assert repr(image) == "<volant.Image of debian_slim and 2 steps and 1 added>"


def described(app: volant.App) -> tuple[Any, list[Any]]:
    """A run of an app that has only been described."""
    running: Any = RunningApp.__new__(RunningApp)
    running.app, running.sources, running.image_contents = app, Sources(), {}
    return running, running._described(running._images())


def sent(running: Any, digest: str) -> bytes:
    """What is uploaded for a digest, put together."""
    pieces: list[dict[str, Any]] = []
    running.channel = SimpleNamespace(tell=lambda _, **fields: pieces.append(fields))
    running._upload([digest])
    content = b"".join(piece["data"] for piece in pieces)
    assert all(piece["size"] == len(content) for piece in pieces)
    assert [piece["offset"] for piece in pieces] == list(_offsets(len(content)))
    return content


def test_contents_are_at_hand_when_the_hub_asks_for_them(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "UPLOAD_BYTES", 5)
    image = BASE.uv_pip_install(requirements=["more.txt"]).add_local_file("tools.py", "t")
    running, [wire] = described(volant.App(image=image))
    assert sent(running, wire["steps"][1]["requirements"]) == b"requests\n"
    attached = wire["attached"][0][2]
    assert sent(running, attached) == b"ANSWER = 42\n"
    (project / "tools.py").write_text("ANSWER = 43\n")
    with pytest.raises(InvalidError, match="changed while the app was started"):
        sent(running, attached)


def plain() -> None: ...


def test_an_image_is_described_once_however_many_functions_have_it() -> None:
    app = volant.App(image=BASE)
    assert described(app)[1] == [BASE.to_wire()]
    other = BASE.pip_install("a")
    for name, image in [("one", None), ("two", other), ("three", other)]:
        app.function(image=image, name=name)(plain)
    assert described(app)[1] == [BASE.to_wire(), other.to_wire()]


def test_an_app_in_a_container_reads_no_local_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are not there, and the hub gives the app the container's own image."""
    monkeypatch.setattr(_context, "container_id", "ta-1")
    app = volant.App(image=BASE.add_local_file("/not/there", "/x"))
    assert described(app)[1] == [host_wire()]
