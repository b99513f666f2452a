"""Images from a registry, built further and run: real builds, on a base made of this machine."""

from __future__ import annotations

import hashlib
import io
import os
import socket
from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours import host_base
from tests.behaviours.build_calls import (
    close,
    fail_to_prepare,
    forget,
    keep,
    prepare,
    prepare_later,
    wait,
)
from tests.behaviours.image_builds import home_of_images
from tests.behaviours.programs import at_home, program_file
from tests.support import eventually, run_volant
from volant.channel import current
from volant.errors import ImageBuildError, InvalidError, NotFoundError
from volant.runner import linux

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from _pytest.tmpdir import TempPathFactory

    from tests.unit.images.registry_server import Registry


@pytest.fixture(scope="module")
def home(tmp_path_factory: TempPathFactory) -> Iterator[Path]:
    with home_of_images(tmp_path_factory, "images") as made:
        yield made


@pytest.fixture
def base(registry: Registry, home: Path) -> volant.Image:
    return volant.Image.from_registry(f"{registry.host}/python:base")


def look(image: volant.Image, probe: Callable[[], object]) -> object:
    """What `probe` returns in a container of an image."""
    app = volant.App("images", image=image)
    function = app.function(serialized=True)(probe)
    with app.run():
        return function.remote()


def prepared() -> object:
    import os

    found = {}
    for top, _, names in os.walk("/srv/prepared"):
        for name in names:
            with open(os.path.join(top, name)) as file:
                found[name] = file.read()
    return {**found, "root": sorted(os.listdir("/root")), "own": os.listdir("/.volant")}


def listing() -> object:
    import os
    import sys

    def read(path: str) -> str | None:
        try:
            with open(path) as file:
                return file.read()
        except OSError:
            return None

    return {
        "python": sys.executable,
        "root": sorted(os.listdir("/")),
        "env": dict(os.environ),
        "built": read("/srv/built"),
        "copied": read("/opt/data/words.txt"),
        "attached": read("/root/words.txt"),
        "elsewhere": read("/data/deep/words.txt"),
        "host": os.path.exists(os.path.dirname(os.path.abspath(__file__)) + "/test_images.py"),
    }


def test_a_function_runs_in_an_image_of_a_registry(base: volant.Image) -> None:
    """Issue 3, 4 and 8: with the image's own interpreter, and nothing of this machine."""
    seen = look(base, listing)
    assert seen["python"] == host_base.PYTHON
    assert seen["env"]["FROM_BASE"] == "yes"
    assert not {"work", "var_of_host", "boot"} & set(seen["root"])


def test_what_steps_made_is_there(base: volant.Image, tmp_path: Path) -> None:
    """Issue 3, 1: commands, variables, and files copied or attached."""
    words = tmp_path / "words.txt"
    words.write_text("one two")
    image = (
        base.env({"GREETING": "hello"})
        .run_commands("mkdir -p /srv", "echo $GREETING > /srv/built")
        .add_local_file(words, "/opt/data/words.txt", copy=True)
        .add_local_file(words, "/root/words.txt")
        .add_local_file(words, "/data/deep/words.txt")
    )
    seen = look(image, listing)
    assert (seen["built"], seen["copied"], seen["attached"]) == ("hello\n", "one two", "one two")
    assert seen["elsewhere"] == "one two"
    assert seen["env"]["GREETING"] == "hello"


def test_files_lie_in_the_working_directory_and_some_stay_here(
    base: volant.Image, tmp_path: Path
) -> None:
    """Behaviour 84."""
    for name in ("a.txt", "b.log", "deep/c.txt", "deep/d.tmp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)

    def below() -> list[str]:
        import os

        return sorted(
            os.path.join(top, name) for top, _, names in os.walk("/app/data") for name in names
        )

    within = base.workdir("/app")
    everything = [f"/app/data/{name}" for name in ("a.txt", "b.log", "deep/c.txt", "deep/d.tmp")]
    for ignore, seen in (
        (["**/*.tmp", "*.log"], [everything[0], everything[2]]),
        (lambda path: path.suffix == ".log", [everything[0], *everything[2:]]),
        (~volant.FilePatternMatcher("**/*.txt"), [everything[0], everything[2]]),
    ):
        for copy in (False, True):
            image = within.add_local_dir(tmp_path, "data", ignore=ignore, copy=copy)
            assert look(image, below) == seen


IMPORTING = """
import volant
base = volant.Image.from_registry("{reference}")
without, other = base.env({{"A": "1"}}), base.env({{"A": "2"}})
app = volant.App("importing")
with without.imports():
    import not_there_at_all
@app.function(image=without)
def inside(): ...
@app.function(image=other)
def outside(): return "other images need not have it"
@app.local_entrypoint()
def main():
    print(outside.remote())
    try:
        inside.remote()
    except ModuleNotFoundError as error:
        print(error)
"""


def test_an_import_that_its_image_lacks_fails_there_and_nowhere_else(
    registry: Registry, home: Path, tmp_path: Path
) -> None:
    """Behaviour 78."""
    program = program_file(tmp_path, IMPORTING.format(reference=f"{registry.host}/python:base"))
    run = run_volant("run", program, home=home)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == [
        "other images need not have it", "No module named 'not_there_at_all'",
    ]  # fmt: skip


def test_containers_write_to_a_layer_of_their_own(base: volant.Image) -> None:
    def write() -> list[str]:
        import os

        os.remove("/usr/bin/sleep")
        with open("/srv-file", "w") as file:
            file.write("x")
        return sorted(os.listdir("/usr/bin"))

    assert "sleep" not in look(base, write)
    assert "srv-file" not in look(base, listing)["root"]


def test_an_unchanged_image_asks_the_registry_nothing(
    base: volant.Image, registry: Registry
) -> None:
    look(base, listing)
    before = len(registry.requests)
    look(base, listing)
    assert len(registry.requests) == before


def test_functions_of_an_app_have_images_of_their_own(base: volant.Image) -> None:
    app = volant.App("two", image=base.env({"WHICH": "the app's"}))
    other = base.env({"WHICH": "its own"})
    with_default = app.function(serialized=True)(listing)
    with_own = app.function(serialized=True, image=other, name="own")(listing)
    on_host = app.function(serialized=True, image=volant.Image.host(), name="host")(listing)
    with app.run():
        calls = [function.spawn() for function in (with_default, with_own, on_host)]
        seen = [call.get() for call in calls]
    assert [one["env"].get("WHICH") for one in seen] == ["the app's", "its own", None]


def test_an_image_says_where_its_containers_work(base: volant.Image) -> None:
    """And commands and functions of later steps; sources stay where they are."""

    def where() -> object:
        import os

        return os.getcwd(), sorted(os.listdir())

    image = base.workdir("/srv/app").run_commands("echo x > made").run_function(
        prepare, args=("n",), kwargs={"text": ""}
    )  # fmt: skip
    assert look(image, where) == ("/srv/app", ["beside", "made"])
    assert look(image.workdir("deeper"), where) == ("/srv/app/deeper", [])
    assert look(image.workdir("/usr/bin"), where)[0] == "/usr/bin"


ENTRYPOINT = """#!/bin/sh
export PREPARED="by $0"
exec "$@"
"""


def test_an_entrypoint_starts_first(base: volant.Image, tmp_path: Path) -> None:
    program = tmp_path / "start"
    program.write_text(ENTRYPOINT)
    program.chmod(0o755)
    image = base.add_local_file(program, "/usr/bin/start", copy=True).entrypoint(["start"])
    assert look(image, listing)["env"]["PREPARED"] == "by /usr/bin/start"
    assert "PREPARED" not in look(image.entrypoint([]), listing)["env"]
    with pytest.raises(volant.errors.Error, match=r"cannot start the entrypoint.*absent"):
        look(base.entrypoint(["/absent"]), listing)


PREPARING = """
import os, pathlib, uuid
import volant
VALUE = "{value}"
def make(word):
    words = [str(uuid.uuid4()), VALUE, word, os.environ["TOKEN"], os.environ["OF_STEP"]]
    pathlib.Path("/made").write_text(" ".join(words))
image = volant.Image.from_registry("{reference}").run_function(
    make, kwargs={{"word": "{word}"}}, env={{"OF_STEP": "env"}},
    secrets=[volant.Secret.from_dict({{"TOKEN": "s3"}})],
)
app = volant.App("preparing", image=image)
@app.function()
def made(): return pathlib.Path("/made").read_text()
@app.local_entrypoint()
def main(): print(made.remote())
"""


def test_a_function_prepares_an_image(base: volant.Image) -> None:
    """Behaviour 82: it has arguments, globals and its working directory; what it writes is kept."""
    image = base.run_function(prepare, args=("data",), kwargs={"text": "made at build time"})
    seen = look(image, prepared)
    assert seen["data"] == "made at build time!"
    assert "beside" in seen["root"]
    assert "call" not in seen["own"]
    assert look(base.run_function(prepare_later), prepared)["later"] == "awaited!"


def test_a_changed_global_or_argument_prepares_it_again(
    registry: Registry, home: Path, tmp_path: Path
) -> None:
    """Behaviour 82: and its secrets and variables are there while it runs."""
    made = []
    for value, word in (("a", "x"), ("a", "x"), ("b", "x"), ("b", "y")):
        text = PREPARING.format(reference=f"{registry.host}/python:base", value=value, word=word)
        # Byte code of the last program would be taken for this one's within the same second.
        env = {"PYTHONDONTWRITEBYTECODE": "1"}
        run = run_volant("run", program_file(tmp_path, text), home=home, env=env)
        assert run.returncode == 0, run.stderr
        made.append(run.stdout.split())
    assert [words[1:] for words in made] == [
        [value, word, "s3", "env"] for value, word in ("ax", "ax", "bx", "by")
    ]
    assert [made[0] == made[1], *(one[0] == made[0][0] for one in made[2:])] == [True, False, False]


def kept_at_build_time() -> object:
    import os

    return os.path.isdir("/kept") and os.listdir("/kept")


def test_steps_have_volumes_and_what_they_write_there_is_committed(base: volant.Image) -> None:
    """Behaviour 82: also what one wrote that failed; nothing of it is in the image."""
    volume = volant.Volume.from_name("of-steps", create_if_missing=True)
    other = volant.Volume.from_name("only-read", create_if_missing=True)
    volumes = {"/kept": volume, "/only-read": other.with_mount_options(read_only=True)}
    image = base.run_function(keep, args=("one",), volumes=volumes)
    assert look(image, kept_at_build_time) == []
    assert image.logs.fetch()[-1].message == "it says: Read-only file system"
    with pytest.raises(ImageBuildError, match="after it was written"):
        base.run_function(keep, args=("two",), kwargs={"fails": True}, volumes=volumes).build()
    assert b"".join(volume.read_file("two")) == b"one"
    command = "rm -r /kept/deep; mkdir /kept/deep; echo new > /kept/deep/new"
    part = {"/kept": volume.with_mount_options(sub_path="part")}
    with volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(b"old"), "/part/deep/old")
    assert look(base.run_commands(command, volumes=part), kept_at_build_time) == []
    found = {one.path: one.mode for one in volume.iterdir("/")}
    assert set(found) == {"one", "two", "part", "part/deep", "part/deep/new"}
    assert found["one"] == 0o640
    assert list(other.iterdir("/")) == []


def test_a_step_whose_volume_there_is_not_is_not_begun(base: volant.Image) -> None:
    """Behaviours 82 and 88."""
    absent = {"/kept": volant.Volume.from_name("not-there")}
    with pytest.raises(NotFoundError, match="there is no volume 'not-there'"):
        base.run_commands("true", volumes=absent).build()
    with pytest.raises(InvalidError, match="cannot be mounted at '/proc/x'"):
        base.run_commands("true", volumes={"/proc/x": absent["/kept"]})


def test_a_function_that_fails_fails_the_build(base: volant.Image) -> None:
    """With its traceback, which names the user's own line."""
    with pytest.raises(ImageBuildError) as caught:
        look(base.run_function(fail_to_prepare), prepared)
    assert "`fail_to_prepare()` ended with exit code 1" in caught.value.message
    assert "ValueError: nothing to prepare" in caught.value.message
    assert 'raise ValueError("nothing to prepare")' in caught.value.message


def test_a_function_of_a_build_has_limits(base: volant.Image) -> None:
    """Without control groups memory is limited by the address space."""
    image = base.run_function(forget, args=(200 << 20,), memory=(64, 64))
    with pytest.raises(ImageBuildError, match=r"exit code 137|MemoryError"):
        look(image, prepared)
    with pytest.raises(ImageBuildError, match=r"longer than 0\.2 s"):
        look(base.run_function(wait, timeout=0.2), prepared)


def test_a_step_reaches_no_socket_of_this_machine_that_is_no_file(base: volant.Image) -> None:
    if linux.landlock_abi() < 6:
        pytest.skip("abstract sockets are shared with the network before Landlock 6")
    name = f"volant-test-{os.getpid()}"
    connect = f"import socket; socket.socket(socket.AF_UNIX).connect(chr(0) + {name!r})"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")
        listener.listen()
        with pytest.raises(ImageBuildError, match="PermissionError"):
            base.run_commands(f'{host_base.PYTHON} -c "{connect}"').build()


def test_where_there_are_no_containers_there_are_no_images(own_home: Path) -> None:
    with at_home(own_home, VOLANT_ISOLATION="process"):
        with pytest.raises(ImageBuildError, match="images need containers") as failed:
            volant.Image.from_scratch().run_commands("true").build()
        assert "`volant server status` says what this machine lacks" in str(failed.value.hint)


def closed() -> object:
    import os

    told = os.stat("/closed"), os.stat("/closed/in/file")
    return [info.st_mode & 0o777 for info in told], os.listdir("/closed/in")


def test_what_a_step_closes_to_everybody_is_kept_seen_and_removed(
    base: volant.Image, home: Path
) -> None:
    """Its owner may read it from then on where that is a normal user."""
    image = base.run_function(close).run_commands(
        "cat /closed/in/file; rm -r /closed/in; mkdir -m 711 /closed/in; echo new > /closed/in/file"
    )
    image.build()
    is_root = os.geteuid() == 0
    kept = [path.stat().st_mode for path in home.glob("images/layers/*/diff/program")]
    assert [mode & 0o7777 for mode in kept] == [0o4755 if is_root else 0o755]
    current.channel().request("image_prune", all=True, dry_run=False, older_than_s=0.0)
    assert not list(home.glob("images/layers/*/diff/closed"))
    assert eventually(lambda: not list(home.glob("images/trash/*")))
    assert look(image, closed) == ([0o100 if is_root else 0o500, 0o644], ["file"])


def test_a_step_sees_its_secrets_and_no_other_does(base: volant.Image, home: Path) -> None:
    """A changed value builds nothing anew, and no value stays on disk."""

    def built_with(value: str) -> object:
        image = base.run_commands(
            "echo secret of ${#TOKEN} characters > /built", secrets=[secret(value)]
        ).run_commands('test -z "$TOKEN" && cat /built > /seen')
        return look(image, content)

    def secret(value: str) -> volant.Secret:
        return volant.Secret.from_dict({"TOKEN": value})

    def content() -> str:
        with open("/seen") as file:
            return file.read()

    value = "unlikely-8c1f52"
    assert built_with(value) == "secret of 15 characters\n"
    assert built_with("another") == "secret of 15 characters\n"
    written = [path for path in (home / "images").rglob("*") if path.is_file()]
    assert not any(value.encode() in path.read_bytes() for path in written)


def test_a_registry_is_opened_with_a_secret(base: volant.Image, registry: Registry) -> None:
    name = f"{registry.host}/python:base"
    good = {"REGISTRY_USERNAME": "me", "REGISTRY_PASSWORD": "sesame"}
    registry.asks_for, registry.account = "basic", ("me", "sesame")
    try:
        for given in ({}, {**good, "REGISTRY_PASSWORD": "guess"}, {"REGISTRY_USERNAME": "me"}):
            opened = volant.Image.from_registry(name, volant.Secret.from_dict(given))
            with pytest.raises(ImageBuildError, match=r"REGISTRY_|not there for us"):
                look(opened, listing)
        image = volant.Image.from_registry(name, volant.Secret.from_dict(good), force_build=True)
        assert look(image, listing)["env"]["FROM_BASE"] == "yes"
        registry.account = ("_json_key", '{"type": "service_account"}')
        key = volant.Secret.from_dict({"SERVICE_ACCOUNT_JSON": registry.account[1]})
        image = volant.Image.from_gcp_artifact_registry(name, key, force_build=True)
        assert look(image, listing)["env"]["FROM_BASE"] == "yes"
        aws = volant.Secret.from_dict({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"})
        opened = volant.Image.from_aws_ecr(name, aws, force_build=True)
        with pytest.raises(ImageBuildError, match="aws ecr get-login-password"):
            look(opened, listing)
    finally:
        registry.asks_for, registry.account = "", None


def test_large_files_are_attached_as_well(base: volant.Image, tmp_path: Path) -> None:
    """They never are in the memory of client or daemon as a whole."""
    place = tmp_path / "weights"
    place.write_bytes(os.urandom(1 << 20) * 40)
    expected = hashlib.sha256(place.read_bytes()).hexdigest()

    def digest() -> str:
        import hashlib

        with open("/root/model/weights", "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()

    assert look(base.add_local_file(place, "/root/model/weights"), digest) == expected


def test_a_function_sees_its_secrets(home: Path) -> None:
    """Those of its app as well; later ones win, and `env=` over all of them."""

    def see() -> list[str | None]:
        import os

        return [os.environ.get(name) for name in "ABCD"]

    first, second = ({"A": "app", "B": "app", "C": "app"}, {"B": "own", "C": "own"})
    app = volant.App("secrets", secrets=[volant.Secret.from_dict(first)])
    function = app.function(
        serialized=True, secrets=[volant.Secret.from_dict(second)], env={"C": "env"}
    )(see)
    with app.run():
        assert function.remote() == ["app", "own", "env", None]


def test_a_failed_build_raises_with_what_it_printed(base: volant.Image) -> None:
    """Behaviour 87."""
    with pytest.raises(ImageBuildError) as caught:
        look(base.run_commands("echo almost; cat /absent"), listing)
    assert "almost" in caught.value.message
    assert "/absent" in caught.value.message
    assert "exit code 1" in caught.value.message


def test_a_store_that_cannot_be_used_fails_the_build(base: volant.Image, home: Path) -> None:
    """And not the daemon, nor the calls after it: a place for records that is none."""
    look(base, listing)
    image = base.env({"NEVER": "built"})
    drafts = home / "images/drafts"
    drafts.rename(home / "aside")
    drafts.write_text("no directory")
    with pytest.raises(ImageBuildError, match="cannot be used"):
        look(image, listing)
    drafts.unlink()
    (home / "aside").rename(drafts)
    assert look(image, listing)["env"]["NEVER"] == "built"
