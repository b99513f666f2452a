"""Images of the files of sandboxes that have this machine for their image: behaviour 122."""

from __future__ import annotations

import os
import random
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.programs import program_file, run_program
from tests.behaviours.shells import shell
from tests.support import run_volant, stop_daemon
from volant.errors import ImageBuildError, InvalidError
from volantd.agent.sandboxes.snapshots import LAYERS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

app = volant.App("of-machine-snapshots")
#: Of the machine, and writable in sandboxes as far as they are root's.
TOOL = "/usr/local/bin/volant-test-tool"
needs_trees = pytest.mark.skipif(os.geteuid() != 0, reason="root has ids to give")


@pytest.fixture(scope="module", autouse=True)
def home(volant_home: Path) -> Iterator[Path]:
    with app.run():
        yield volant_home


def test_a_snapshot_of_one_without_an_image_holds_its_files() -> None:
    """Behaviour 122."""
    first = volant.Sandbox.create("sh", "-c", "read _; echo still here", app=app)
    shell(first, "echo kept > /srv/file; echo own > /root/file; echo set > /etc/of-sandbox.conf;"
                  "ln -s file /srv/link; mkdir -p /srv/deep/er; chmod 750 /srv/deep")  # fmt: skip
    image = first.snapshot_filesystem()
    shell(first, "echo later > /srv/file; echo later > /srv/other")
    second = volant.Sandbox.create(app=app, image=image)
    assert shell(second, "cat /srv/link /root/file /etc/of-sandbox.conf") == "kept\nown\nset\n"
    assert shell(second, "ls /srv; stat -c %a /srv/deep") == "deep\nfile\nlink\n750\n"
    first.stdin.write("go\n")
    first.stdin.write_eof()
    first.stdin.drain()
    assert first.stdout.read() == "still here\n"


def test_each_snapshot_holds_what_the_last_one_did() -> None:
    sandbox = volant.Sandbox.create(app=app)
    for number in range(4):
        shell(sandbox, f"echo {number} > /srv/{number}; rm -f /srv/{number - 2}")
        image = sandbox.snapshot_filesystem()
        sandbox.terminate()
        sandbox = volant.Sandbox.create(app=app, image=image)
    assert shell(sandbox, "cd /srv; ls; cat 3") == "2\n3\n3\n"


@needs_trees
def test_programs_of_this_machine_are_changed_in_the_snapshot_alone() -> None:
    first = volant.Sandbox.create(app=app)
    shell(first, f"printf '#!/bin/sh\\necho made\\n' > {TOOL}; chmod 711 {TOOL}; rm /usr/bin/env;"
                  "rm -r /usr/share/doc; mkdir /usr/share/doc; echo new > /usr/share/doc/new;"
                  "chown 1 /usr/share/doc/new")  # fmt: skip
    second = volant.Sandbox.create(app=app, image=first.snapshot_filesystem())
    shown = shell(second, f"{TOOL}; stat -c %a {TOOL}; ls /usr/bin/env 2>/dev/null || echo gone;"
                           "ls /usr/share/doc; stat -c %u /usr/share/doc/new")  # fmt: skip
    assert shown == "made\n711\ngone\nnew\n1\n"
    shell(second, f"rm {TOOL}; echo back > /usr/bin/env")
    third = volant.Sandbox.create(app=app, image=second.snapshot_filesystem())
    assert shell(third, f"cat /usr/bin/env; ls {TOOL} 2>/dev/null || echo gone") == "back\ngone\n"
    assert not os.path.exists(TOOL)
    assert os.path.exists("/usr/bin/env")
    assert shell(volant.Sandbox.create(app=app), "ls /usr/bin/env") == "/usr/bin/env\n"


def _changed_package() -> volant.Image:
    """An image of this machine in whose Python a module was installed."""
    sandbox = volant.Sandbox.create(app=app)
    place = sandbox.exec(sys.executable, "-c", "import site; print(site.getsitepackages()[0])")
    directory = place.stdout.read().strip()
    shell(sandbox, f"mkdir -p {directory}; echo 'ANSWER = 42' > {directory}/of_sandbox.py")
    image: volant.Image = sandbox.snapshot_filesystem()
    return image


@needs_trees
def test_functions_run_on_what_was_installed_in_a_sandbox(home: Path, tmp_path: Path) -> None:
    """Also what the template of their program imports, which is not the machine's."""
    image = _changed_package()
    text = f"""
        import volant

        app = volant.App("on-snapshot")
        image = volant.Image.from_id("{image.object_id}").env({{"MORE": "yes"}})

        with image.imports():
            import of_sandbox


        @app.function(image=image)
        def answer() -> None:
            import os
            print(of_sandbox.ANSWER, os.environ["MORE"], os.environ["VOLANT_IMAGE_ID"][:3])
    """
    program = program_file(tmp_path, textwrap.dedent(text))
    run = run_volant("run", str(program), home=home)
    assert (run.returncode, run.stdout) == (0, "42 yes im-\n"), run.stderr


@needs_trees
def test_it_outlives_the_daemon(own_home: Path, tmp_path: Path) -> None:
    def ran(create: str, then: str) -> str:
        text = f"""
            import volant

            app = volant.App("of-two-daemons")
            with app.run():
                sandbox = volant.Sandbox.create(app=app{create})
                {then}
        """
        path = program_file(tmp_path, textwrap.dedent(text))
        return run_program(path, home=own_home).stdout.strip()

    write = f'sandbox.exec("sh", "-c", "echo 1 > /srv/file; echo 2 > {TOOL}").wait()'
    image_id = ran("", f"{write}; print(sandbox.snapshot_filesystem().object_id)")
    stop_daemon(own_home)
    read = f'print(sandbox.exec("cat", "/srv/file", "{TOOL}").stdout.read())'
    assert ran(f", image=volant.Image.from_id({image_id!r})", read) == "1\n2"
    assert sys.executable in run_volant("image", "inspect", image_id, home=own_home).stdout


def test_what_needs_the_whole_image_is_refused_and_told_why() -> None:
    sandbox = volant.Sandbox.create(app=app)
    image = sandbox.snapshot_filesystem()
    further = volant.App("further-steps")
    with (
        pytest.raises(ImageBuildError, match="lies over this machine's own files") as raised,
        further.run(),
    ):
        volant.Sandbox.create("true", app=further, image=image.run_commands("true")).wait()
    assert "take a snapshot" in str(raised.value.hint)
    with pytest.raises(InvalidError, match="cannot be mounted in a directory"):
        volant.Sandbox.create(app=app, runtime="container").mount_image("/mnt", image)
    again = volant.Sandbox.create(app=app, image=image)
    assert shell(again, "echo goes on") == "goes on\n"


def test_attached_files_are_in_the_snapshot(tmp_path: Path) -> None:
    (tmp_path / "given.txt").write_text("given")
    image = volant.Sandbox.create(app=app).snapshot_filesystem()
    attached = image.add_local_file(tmp_path / "given.txt", "/root/given.txt")
    first = volant.Sandbox.create(app=app, image=attached)
    assert shell(first, "cat /root/given.txt") == "given"
    second = volant.Sandbox.create(app=app, image=first.snapshot_filesystem())
    assert shell(second, "cat /root/given.txt") == "given"


def test_sidecars_have_it_where_their_sandbox_has_it() -> None:
    first = volant.Sandbox.create(app=app)
    shell(first, "echo kept > /srv/file")
    image = first.snapshot_filesystem()
    second = volant.Sandbox.create(app=app, image=image, block_network=True)
    beside = second._experimental_sidecars.create(name="same")
    assert shell(beside, "cat /srv/file; echo own > /srv/own") == "kept\n"
    third = volant.Sandbox.create(app=app, image=beside.snapshot_filesystem())
    assert shell(third, "cat /srv/file /srv/own") == "kept\nown\n"
    with pytest.raises(InvalidError, match="of a sandbox of the same image"):
        first._experimental_sidecars.create("true", name="other", image=image).wait()


#: What a round does to the files: each hides, replaces or brings back what earlier rounds left.
CHANGES = (
    "mkdir -p {a}; echo {n} > {a}/{n}", "rm -rf {a}", "rm -rf {a}; mkdir {a}; echo {n} > {a}/new",
    "rm -rf {a}; echo {n} > {a}", "rm -rf {a}; ln -s {n} {a}", "rm -rf {b}; cp -a {a} {b}",
    "mkdir -p {a}/d; mv {a}/d {a}/e", "echo {n} >> {a}/log", "rm -rf {b}; mv {a} {b}",
    "echo {n} > {a}.f; ln -f {a}.f {b}.g", "chmod 700 {a}; touch -d @{n} {a}",
)  # fmt: skip
#: More than have a layer each, so that some are made one.
ROUNDS = 2 * LAYERS_MAX + 6


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
@pytest.mark.parametrize(
    "where", ["/srv", pytest.param("/usr/share/perl5/Debconf", marks=needs_trees)]
)
def test_as_many_as_one_likes_follow_each_other(where: str, seed: int) -> None:
    chance = random.Random(seed)
    look = f"cd {where}; {{ find . -mindepth 1 ! -type d -printf '%p %s %l %T@\\n'"
    look += " -o -mindepth 1 -printf '%p %m %T@\\n';"
    look += " find . -type f -exec md5sum {} +; } | sort"
    sandbox = volant.Sandbox.create(app=app)
    names = shell(sandbox, f"cd {where}; mkdir -p one two; ls | head -4").split()
    for number in range(ROUNDS):
        a, b = chance.sample(names, 2)
        change = chance.choice(CHANGES).format(a=a, b=b, n=number)
        shown = shell(sandbox, f"cd {where}; ({change}) 2>/dev/null; {look}")
        image = sandbox.snapshot_filesystem()
        sandbox.terminate()
        sandbox = volant.Sandbox.create(app=app, image=image)
        assert shell(sandbox, look) == shown, f"after {change} in round {number}"
