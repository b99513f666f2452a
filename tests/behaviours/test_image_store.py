"""The store of images through the product: what is shown, named, shared, evicted and pruned."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

import volant
from tests.behaviours import host_base
from tests.behaviours.image_builds import bytes_on_disk, home_of_images
from tests.behaviours.programs import at_home
from tests.support import VOLANT, daemon_pid, eventually, run_volant, stop_daemon
from volant.channel import current
from volant.errors import ExecutionError, ImageBuildError, InvalidError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from _pytest.tmpdir import TempPathFactory

    from tests.behaviours.image_builds import Gate
    from tests.unit.images.registry_server import Registry


@pytest.fixture(scope="module")
def home(tmp_path_factory: TempPathFactory) -> Iterator[Path]:
    with home_of_images(tmp_path_factory, "store") as made:
        yield made


@pytest.fixture
def base(registry: Registry, home: Path) -> volant.Image:
    return volant.Image.from_registry(f"{registry.host}/python:base")


def read(path: str) -> str:
    with open(path) as file:
        return file.read()


def nothing() -> None:
    pass


def call(image: volant.Image, function: Callable[..., Any], *given: object) -> Any:
    app = volant.App("store", image=image)
    made = app.function(serialized=True)(function)
    with app.run():
        return made.remote(*given)


def text_of(image: volant.Image, path: str) -> str:
    """A file in a container of an image."""
    told: str = call(image, read, path)
    return told


def tell(home: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """What `volant image ...` says."""
    run = run_volant("image", *words, home=home)
    assert run.returncode == code, run.stderr
    return run


def rows(home: Path) -> dict[str, dict[str, Any]]:
    found = json.loads(tell(home, "list", "--json").stdout)
    return {row["image_id"]: row for row in found}


def again(home: Path) -> None:
    """Another daemon."""
    stop_daemon(home)
    current.forget()
    current.channel()


# -- building


def test_an_image_is_built_without_running_an_app(
    base: volant.Image, home: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    image = base.run_commands("echo building; echo x > /built").env({"A": "1"})
    with volant.enable_output():
        assert image.build() is image
    assert b"run echo building" in capfdbinary.readouterr().err
    assert image.object_id is not None
    assert rows(home)[image.object_id]["state"] == "built"
    assert [entry.message for entry in image.logs.fetch(layers=9)] == ["building"]
    assert image.logs.tail(1)[0].object_id != image.object_id, "that is what the env step made"
    assert text_of(image, "/built") == "x\n"


def test_an_image_is_built_for_an_app_that_does_not_run(base: volant.Image) -> None:
    """Behaviour 81: also for one that was looked up."""
    image = base.run_commands("true # for an app")
    assert image.build(volant.App("builder")) is image
    assert image.object_id is not None
    found = volant.App.lookup("builder", create_if_missing=True)
    other = base.run_commands("true # for one that was looked up")
    assert other.build(found) is other
    assert other.object_id not in (None, image.object_id)


def test_a_forced_step_and_later_ones_are_built_anew(base: volant.Image) -> None:
    """Behaviour 83: those before it stay."""
    chance = "cat /proc/sys/kernel/random/uuid >> /chance"

    def three(force_build: bool) -> list[str]:
        image = base.run_commands(chance).run_commands(chance, force_build=force_build)
        return text_of(image.run_commands(chance), "/chance").split()

    first, again = three(False), three(True)
    assert again[0] == first[0]
    assert not set(again[1:]) & set(first)


def test_who_uses_images_in_an_app_learns_their_ids(base: volant.Image) -> None:
    image = base.run_commands("true # in an app")
    call(image, nothing)
    assert image.object_id == base.run_commands("true # in an app").build().object_id


def test_building_works_in_async_code(base: volant.Image) -> None:
    import asyncio

    async def build() -> str | None:
        image = await base.run_commands("echo async").build.aio()
        await image.publish.aio("async:1")
        found = await volant.Image.from_name("async:1").hydrate.aio()
        assert [entry.message for entry in await found.logs.tail.aio(1)] == ["async"]
        assert found.object_id == image.object_id
        return found.object_id

    assert asyncio.run(build())


def test_a_failed_build_tells_the_client_which_image(base: volant.Image, home: Path) -> None:
    """Behaviour 87: its id is on the exception, and the command that it names shows the log."""
    image = base.run_commands("echo first").run_commands("echo almost; false")
    with pytest.raises(ImageBuildError) as caught:
        image.build()
    failed = caught.value.image_id
    assert failed is not None
    assert f"`volant image logs {failed}`" in (caught.value.hint or "")
    with pytest.raises(ImageBuildError) as again_caught:
        call(image, nothing)
    assert again_caught.value.image_id == failed
    assert rows(home)[failed]["state"] == "failed"
    lines = tell(home, "logs", failed).stdout.splitlines()
    assert "volant: step 1 of 3: registry" in lines[0]
    assert lines[1:5] == [
        "volant: step 2 of 3: run echo first", "first",
        "volant: step 3 of 3: run echo almost; false", "almost",
    ]  # fmt: skip
    assert "ended with exit code 1" in lines[5]
    assert tell(home, "logs", failed, "--tail", "2").stdout.splitlines() == lines[-2:]
    told = [json.loads(line) for line in tell(home, "logs", failed, "--json").stdout.splitlines()]
    assert told[4] == {"image_id": failed, "step": 3, "text": "almost"}
    again(home)
    assert tell(home, "logs", failed).stdout.splitlines() == lines, "another daemon knows, too"


def test_the_log_of_a_build_that_goes_on_is_followed(
    base: volant.Image, home: Path, gate: Gate
) -> None:
    image = base.run_commands("echo before").run_commands(f"echo half; {gate.command}; echo rest")
    building = Thread(target=image.build)
    building.start()
    step = gate.wait()
    assert image.object_id is not None
    assert rows(home)[image.object_id]["state"] == "building"
    words = [VOLANT, "image", "logs", image.object_id, "--follow"]
    environ = {**os.environ, "VOLANT_HOME": str(home)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environ) as follower:
        assert follower.stdout is not None
        seen = [follower.stdout.readline().strip() for _ in range(5)]
        assert seen[2] == "before"
        assert seen[4] == "half"
        assert tell(home, "logs", image.object_id).stdout.splitlines() == seen
        step.close()
        assert follower.stdout.read().splitlines() == ["rest"]
    building.join()
    assert follower.returncode == 0


def test_a_build_survives_the_death_of_the_daemon(
    base: volant.Image, home: Path, gate: Gate
) -> None:
    """The client starts the next one, and asks it again."""
    import threading

    image = base.run_commands(f"{gate.command}; echo built > /survived")
    builder = threading.Thread(target=image.build)
    builder.start()
    with gate.wait():
        pid = daemon_pid(home)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    gate.wait().close()
    builder.join(60)
    assert not builder.is_alive()
    assert text_of(image, "/survived") == "built\n"


# -- force and ignore


def test_settings_build_anew_with_and_without_keeping_it(
    base: volant.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behaviour 83: force overwrites what is there, ignore leaves it as it is."""
    image = base.run_commands("cat /proc/sys/kernel/random/uuid > /chance")

    first = text_of(image, "/chance")
    assert text_of(image, "/chance") == first
    monkeypatch.setenv("VOLANT_IGNORE_CACHE", "1")
    apart = text_of(image, "/chance")
    monkeypatch.delenv("VOLANT_IGNORE_CACHE")
    assert apart != first == text_of(image, "/chance")
    monkeypatch.setenv("VOLANT_FORCE_BUILD", "1")
    forced = text_of(image, "/chance")
    assert forced not in (first, apart)
    monkeypatch.delenv("VOLANT_FORCE_BUILD")
    image.build()
    assert text_of(image.env({"NEW": "zygote"}), "/chance") == forced


def test_functions_of_one_run_share_one_forced_build(base: volant.Image) -> None:
    image = base.run_commands("cat /proc/sys/kernel/random/uuid > /chance", force_build=True)

    app = volant.App("forced", image=image)
    one = app.function(serialized=True, name="one")(read)
    two = app.function(serialized=True, name="two", env={"A": "other zygote"})(read)
    with app.run():
        assert one.remote("/chance") == two.remote("/chance")


# -- names and ids


def test_a_published_image_is_found_by_its_name(base: volant.Image, home: Path) -> None:
    """Behaviour 86: its tag is `latest` where none is given."""
    one = base.run_commands("echo 1 > /version")
    other = base.run_commands("echo 2 > /version")
    one.publish("kept:1")
    one.publish("kept")
    other.build()
    again(home)
    found = volant.Image.from_name("kept").hydrate()
    assert found.object_id == one.object_id
    assert text_of(found, "/version") == "1\n"
    further = volant.Image.from_name("kept").run_commands("cat /version > /copy")
    assert text_of(further, "/copy") == "1\n"
    other.publish("kept")
    assert text_of(volant.Image.from_name("kept"), "/version") == "2\n"
    listed = json.loads(tell(home, "names", "list", "--prefix", "kept", "--json").stdout)
    assert [(row["name"], row["image_id"]) for row in listed] == [
        ("kept:1", one.object_id), ("kept:latest", other.object_id),
    ]  # fmt: skip
    tell(home, "names", "delete", "kept:1")
    with pytest.raises(NotFoundError, match="kept:1"):
        volant.Image.from_name("kept:1").hydrate()
    with pytest.raises(NotFoundError, match="kept:1"):
        call(volant.Image.from_name("kept:1"), nothing)
    told = tell(home, "names", "delete", "kepd", code=2).stderr
    assert "did you mean `kept:latest`?" in told


def test_an_image_is_found_by_its_id_and_shares_what_is_built_on_it(
    base: volant.Image, home: Path
) -> None:
    image = base.run_commands("echo by-id > /how").build()
    assert image.object_id is not None
    found = volant.Image.from_id(image.object_id)
    assert text_of(found, "/how") == "by-id\n"
    more = image.run_commands("echo more > /more").build()
    assert found.run_commands("echo more > /more").build().object_id == more.object_id
    assert tell(home, "inspect", image.object_id[:12]).stdout.startswith(
        "image id    " + image.object_id
    )
    with pytest.raises(NotFoundError, match="im-0000"):
        volant.Image.from_id("im-0000").hydrate()
    with pytest.raises(InvalidError, match="begin with 'im-'"):
        current.channel().request("image_lookup", image_id="im-")
    with pytest.raises(ExecutionError, match=r"image\.build\(\)"):
        base.run_commands("never").hydrate()


# -- what is shown


def test_an_image_is_inspected(base: volant.Image, home: Path) -> None:
    image = base.run_commands("echo shown > /shown").env({"SHOWN": "yes"}).workdir("/srv").build()
    assert image.object_id is not None
    found = json.loads(tell(home, "inspect", image.object_id, "--json").stdout)
    assert found["python"] == host_base.PYTHON
    assert (found["env"]["SHOWN"], found["workdir"], found["state"]) == ("yes", "/srv", "built")
    assert [step["kind"] for step in found["steps"]] == ["registry", "run", "env", "workdir"]
    assert [step["layers"] for step in found["steps"]] == [1, 1, 0, 1]
    assert found["size_bytes"] == sum(layer["size_bytes"] for layer in found["layers"])
    assert found["steps"][-1]["image_id"] == image.object_id
    told = tell(home, "inspect", "im-zz", code=2)
    assert "there is no image 'im-zz'" in told.stderr


def test_images_that_differ_in_the_last_step_share_all_other_bytes(
    base: volant.Image, home: Path
) -> None:
    """Issue 3, bars: measured on the disk."""
    start = base.run_commands(
        "python3 -c \"open('/large', 'wb').write(bytes(range(256)) * 40000)\""
    )
    start.build()
    before = bytes_on_disk(home / "images/layers")
    one = start.run_commands("echo one > /last").build()
    other = start.run_commands("echo other > /last").build()
    added = bytes_on_disk(home / "images/layers") - before
    found = rows(home)
    for image in (one, other):
        row = found[str(image.object_id)]
        print(f"own {row['own_bytes']} bytes, shared {row['shared_bytes']}")
        assert row["own_bytes"] <= 16 << 10
        assert row["shared_bytes"] > 10 << 20
    print(f"two images added {added} bytes to {before}")
    assert added <= 64 << 10


# -- what goes


def test_prune_removes_what_nothing_uses(base: volant.Image, home: Path, gate: Gate) -> None:
    unused = base.run_commands("echo unused > /unused").build()
    named = base.run_commands("echo named > /named").build()
    named.publish("pruned:never")
    running = base.run_commands("echo running > /running")
    with pytest.raises(ImageBuildError) as failed:
        base.run_commands("echo failed; false").build()
    app = volant.App("prune", image=running)
    function = app.function(serialized=True)(read)
    with app.run():
        function.remote("/running")
        assert rows(home)[str(running.object_id)]["apps"] == ["prune"]
        dry = json.loads(tell(home, "prune", "--dry-run", "--json").stdout)
        assert {unused.object_id, failed.value.image_id} <= set(dry["removed"])
        assert str(unused.object_id) in rows(home)
        assert json.loads(tell(home, "prune", "--older-than", "1d", "--json").stdout) == {
            "removed": [], "freed_bytes": 0, "caches": [],
        }  # fmt: skip
        done = json.loads(tell(home, "prune", "--json").stdout)
        assert done == dry
        assert done["freed_bytes"] > 0
        left = rows(home)
        assert {str(named.object_id), str(running.object_id)} <= set(left)
        assert not {unused.object_id, failed.value.image_id} & set(left)
        assert function.remote("/running") == "running\n"
        assert "there is nobody to ask" in tell(home, "prune", "--all", code=2).stderr
        gone = json.loads(tell(home, "prune", "--all", "--yes", "--json").stdout)
        assert named.object_id in gone["removed"]
        assert running.object_id not in gone["removed"]
        assert function.remote("/running") == "running\n"
    with pytest.raises(NotFoundError):
        volant.Image.from_name("pruned:never").hydrate()
    assert "is no age" in tell(home, "prune", "--older-than", "soon", code=2).stderr


def test_prune_frees_what_it_said_while_an_older_layer_waits_to_be_swept(
    base: volant.Image, home: Path
) -> None:
    """One that a container still runs on is none of the images that go, and is not counted."""
    unused = base.run_commands("echo unused > /counted").build()
    remade = base.run_commands("echo remade > /remade")
    app = volant.App("older", image=remade)
    function = app.function(serialized=True)(read)
    with app.run():
        assert function.remote("/remade") == "remade\n"
        base.run_commands("echo remade > /remade", force_build=True).build()
        own = rows(home)[str(unused.object_id)]["own_bytes"]
        dry = json.loads(tell(home, "prune", "--dry-run", "--json").stdout)
        assert dry["freed_bytes"] == own > 0
        assert json.loads(tell(home, "prune", "--json").stdout) == dry
        assert function.remote("/remade") == "remade\n"


def test_what_is_built_on_stays_while_it_is(base: volant.Image, home: Path, gate: Gate) -> None:
    """Whatever is pruned meanwhile."""
    import threading

    image = base.run_commands("echo low > /low").run_commands(f"{gate.command}; cat /low > /high")
    builder = threading.Thread(target=image.build)
    builder.start()
    step = gate.wait()
    tell(home, "prune", "--all", "--yes")
    step.close()
    builder.join(60)
    assert text_of(image, "/high") == "low\n"


def test_the_least_recently_used_go_when_the_store_is_full(
    registry: Registry, tmp_path_factory: TempPathFactory
) -> None:
    """Those that are named stay, and the limit holds for what is there when a daemon starts."""
    own = tmp_path_factory.mktemp("full")
    own.chmod(0o700)
    with at_home(own):
        base = volant.Image.from_registry(f"{registry.host}/python:base")
        large = "python3 -c \"open('/large', 'wb').write(b'x' * (20 << 20))\" #"
        images = [base.run_commands(f"{large} {number}").build() for number in range(4)]
        images[0].publish("kept")
        size = sum(row["own_bytes"] for row in rows(own).values())
        assert size > 80 << 20
        stop_daemon(own)
    limit_mib = (bytes_on_disk(own / "images/layers") >> 20) - 30
    with at_home(own, VOLANT_IMAGE_STORE_LIMIT_MIB=str(limit_mib)):
        current.channel()
        left = eventually(lambda: len(rows(own)) == 2 and rows(own))
        assert set(left) == {images[0].object_id, images[3].object_id}
        eventually(lambda: bytes_on_disk(own / "images") < limit_mib << 20)
        stop_daemon(own)


CACHED = "RUN --mount=type=cache,target=/kept"
FILL = "python3 -c \"open('/kept/large', 'wb').write(b'x' * (20 << 20))\""


def caches(home: Path) -> dict[str, int]:
    """Sizes of caches by the ends of their names, as `volant image list` is told of them."""
    current.forget()
    listed = current.channel().request("image_list")
    return {one["name"].split(": ")[-1]: one["size_bytes"] for one in listed["caches"]}


def test_caches_are_told_and_removed_with_all_else(
    base: volant.Image, home: Path, gate: Gate
) -> None:
    """Issue 3: what they are, and never under a build."""
    base.dockerfile_commands(f"{CACHED},id=one {FILL}").build()
    assert caches(home)["one"] == pytest.approx(20 << 20, abs=64 << 10)
    assert "mounted by Dockerfiles: one (20.0 MiB)" in tell(home, "list").stderr
    assert json.loads(tell(home, "prune", "--dry-run", "--json").stdout)["caches"] == []
    dry = json.loads(tell(home, "prune", "--all", "--dry-run", "--json").stdout)
    assert "mounted by Dockerfiles: one" in [one["name"] for one in dry["caches"]]
    builder = Thread(target=base.dockerfile_commands(f"{CACHED},id=one {gate.command}").build)
    builder.start()
    with gate.wait():
        assert json.loads(tell(home, "prune", "--all", "--yes", "--json").stdout)["caches"] == []
    builder.join(60)
    assert caches(home)["one"] >= 20 << 20
    done = json.loads(tell(home, "prune", "--all", "--yes", "--json").stdout)
    assert [one["name"] for one in done["caches"]] == [one["name"] for one in dry["caches"]]
    assert caches(home) == {}
    assert bytes_on_disk(home / "images/caches") < 1 << 20


def test_caches_go_in_their_turn_when_the_store_is_full(
    registry: Registry, tmp_path_factory: TempPathFactory
) -> None:
    """Least recently used first, images and caches alike."""
    own = tmp_path_factory.mktemp("full-of-caches")
    own.chmod(0o700)
    with at_home(own):
        base = volant.Image.from_registry(f"{registry.host}/python:base")
        for name in ("one", "two"):
            base.dockerfile_commands(f"{CACHED},id={name} {FILL}").build()
        last = base.run_commands(FILL.replace("/kept", "")).build()
        base.dockerfile_commands(f"{CACHED},id=one : > /kept/again").build()
        assert set(caches(own)) == {"one", "two"}
        stop_daemon(own)
    limit_mib = (bytes_on_disk(own / "images") >> 20) - 10
    with at_home(own, VOLANT_IMAGE_STORE_LIMIT_MIB=str(limit_mib)):
        current.channel()
        eventually(lambda: set(caches(own)) == {"one"})
        assert last.object_id in rows(own)
        eventually(lambda: bytes_on_disk(own / "images") < limit_mib << 20)
        stop_daemon(own)


def test_an_image_command_without_a_daemon_says_so(tmp_path: Path) -> None:
    for words in (["list"], ["inspect", "im-1"], ["logs", "im-1"], ["prune"], ["names", "list"]):
        told = tell(tmp_path, *words, code=3)
        assert "the server, which is not running" in told.stderr
    assert daemon_pid(tmp_path) is None
