"""Local files of an image: which, where to, with which mode, and when they are read."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from volant import FilePatternMatcher, Image, _context
from volant.errors import InvalidError, ModuleNotMountable, NotFoundError
from volant.sdk.images import local

if TYPE_CHECKING:
    from pathlib import Path

BASE = Image.debian_slim("3.12")
HELLO = sha256(b"hello").hexdigest()


def attached(image: Image) -> list[list[Any]]:
    found: Any = image.to_wire()["attached"]
    return found


def paths(image: Image) -> list[str]:
    return [entry[0] for entry in attached(image)]


def copied(image: Image) -> list[list[Any]]:
    found: Any = image.to_wire()["steps"]
    return found[-1]["files"]


def test_a_file_is_named_by_path_mode_digest_and_size(project: Path) -> None:
    (project / "a.sh").write_text("hello")
    (project / "a.sh").chmod(0o775)
    entry = ["/opt/a.sh", 0o755, HELLO, 5]
    assert attached(BASE.add_local_file("a.sh", "/opt/a.sh")) == [entry]
    assert copied(BASE.add_local_file("a.sh", "/opt/a.sh", copy=True)) == [entry]


@pytest.mark.parametrize(
    ("mode", "sent"), [(0o664, 0o644), (0o644, 0o644), (0o600, 0o600), (0o777, 0o755)]
)
def test_what_a_umask_decides_changes_nothing(mode: int, sent: int, project: Path) -> None:
    """The same checkout on two machines makes the same image."""
    (project / "more.txt").chmod(mode)
    assert attached(BASE.add_local_file("more.txt", "/m"))[0][1] == sent


def test_described_says_where_each_content_is(project: Path) -> None:
    (project / "requirements.txt").write_text("-r more.txt\n")
    image = BASE.uv_pip_install(requirements=["requirements.txt"])
    described = image.add_local_file("site/index.html", "/i").described()
    assert described.contents == {
        sha256(b"requests\n").hexdigest(): b"requests\n",
        HELLO: str(project / "site" / "index.html"),
    }
    assert described.wire == image.add_local_file("site/index.html", "/i").to_wire()


def test_a_file_is_read_when_the_app_runs(project: Path) -> None:
    image = BASE.add_local_file("more.txt", "/m")
    before = image.to_wire()
    (project / "more.txt").write_text("changed")
    assert image.to_wire() != before
    (project / "more.txt").unlink()
    with pytest.raises(InvalidError, match=r"cannot read .*more\.txt: No such file"):
        image.to_wire()


def test_a_path_is_that_of_the_caller_at_the_time(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = BASE.add_local_file("more.txt", "/m").add_local_dir("site", "/s")
    monkeypatch.chdir("/")
    assert paths(image) == ["/m", "/s/index.html"]


def test_a_tilde_is_the_home_directory(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(project))
    assert paths(BASE.add_local_file("~/more.txt", "/m")) == ["/m"]


@pytest.mark.parametrize(
    ("image", "remote", "lands"),
    [
        (BASE, "data/x", "/root/data/x"),
        (BASE, "./x", "/root/x"),
        (BASE, "/etc/", "/etc/more.txt"),
        (BASE, "etc/", "/root/etc/more.txt"),
        (BASE, "/a//b/../c", "/a/c"),
        (BASE.workdir("/app"), "x", "/app/x"),
        (BASE.workdir("/app").workdir("sub"), "../x", "/app/x"),
        (BASE.dockerfile_commands("WORKDIR /srv"), "x", "/srv/x"),
        (BASE.dockerfile_commands("WORKDIR sub"), "x", "/root/sub/x"),
        (Image.from_registry("ubuntu").workdir("/u"), "x", "/u/x"),
        (Image.from_registry("ubuntu"), "/x", "/x"),
    ],
)
def test_a_relative_remote_path_lies_in_the_working_directory(
    image: Image, remote: str, lands: str, project: Path
) -> None:
    """Behaviour 84."""
    assert paths(image.add_local_file("more.txt", remote)) == [lands]


@pytest.mark.parametrize(
    "image",
    [
        Image.from_registry("ubuntu"),
        Image.from_id("im-1"),
        Image.from_name("base"),
        BASE.dockerfile_commands("WORKDIR $HOME"),
    ],
)
def test_a_working_directory_that_is_not_known_is_not_guessed(image: Image, project: Path) -> None:
    """Behaviour 84: only the daemon can see what the base has set."""
    with pytest.raises(InvalidError, match="'x' is relative") as refused:
        image.add_local_file("more.txt", "x")
    assert ".workdir(" in str(refused.value.hint)


def tree(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"# {name}")


@pytest.mark.parametrize(
    ("ignore", "left"),
    [
        ([], ["a.py", "b.txt", "sub/.hidden", "sub/a.py", "sub/deep/c.txt"]),
        (["*.py"], ["b.txt", "sub/.hidden", "sub/a.py", "sub/deep/c.txt"]),
        (["**/*.py", "sub/deep"], ["b.txt", "sub/.hidden"]),
        (["**", "!**/*.py"], ["a.py", "sub/a.py"]),
        (["sub", "!sub/deep"], ["a.py", "b.txt", "sub/deep/c.txt"]),
        (("**/.*",), ["a.py", "b.txt", "sub/a.py", "sub/deep/c.txt"]),
        (~FilePatternMatcher("**/*.txt"), ["b.txt", "sub/deep/c.txt"]),
        (lambda path: path.suffix == ".py", ["b.txt", "sub/.hidden", "sub/deep/c.txt"]),
        (lambda path: path.is_relative_to("sub"), ["a.py", "b.txt"]),
    ],
)
def test_ignored_files_of_a_directory_stay_here(ignore: Any, left: list[str], project: Path):
    """Behaviour 84: patterns, a matcher or a callable, on paths relative to the directory."""
    tree(project / "d", "a.py", "b.txt", "sub/a.py", "sub/deep/c.txt", "sub/.hidden")
    assert paths(BASE.add_local_dir("d", "/d", ignore=ignore)) == [f"/d/{name}" for name in left]


def test_a_directory_that_is_ignored_is_not_looked_into(project: Path) -> None:
    tree(project / "d", "a", "venv/b")
    (project / "d" / "venv" / "pipe").symlink_to("nowhere")
    assert paths(BASE.add_local_dir("d", "/d", ignore=["venv"])) == ["/d/a"]


def test_the_last_file_of_a_path_counts(project: Path) -> None:
    image = BASE.add_local_file("more.txt", "/s/index.html").add_local_dir("site", "/s")
    assert attached(image) == [["/s/index.html", 0o644, HELLO, 5]]


def test_a_file_cannot_be_a_directory_as_well(project: Path) -> None:
    image = BASE.add_local_file("more.txt", "/s").add_local_dir("site", "/s")
    with pytest.raises(InvalidError, match=r"/s/index\.html and /s cannot both be files"):
        image.to_wire()


def test_links_to_files_and_to_directories_inside_are_followed(project: Path) -> None:
    tree(project / "d", "lib/a")
    (project / "d" / "lib64").symlink_to("lib")
    (project / "d" / "outside").symlink_to(project / "more.txt")
    assert paths(BASE.add_local_dir("d", "/d")) == ["/d/lib/a", "/d/lib64/a", "/d/outside"]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("..", "outside"),
        (".", "a directory that it lies in"),
        ("sub/..", "a directory that it lies in"),
        ("nowhere", "is a broken link"),
        ("/etc", "is a link to directory /etc, outside"),
    ],
)
def test_a_link_that_would_surprise_is_refused(target: str, said: str, project: Path) -> None:
    tree(project / "d", "sub/a")
    (project / "d" / "link").symlink_to(target)
    with pytest.raises(InvalidError, match=said) as refused:
        BASE.add_local_dir("d", "/d").to_wire()
    assert "ignore=" in str(refused.value.hint)
    assert paths(BASE.add_local_dir("d", "/d", ignore=["link"])) == ["/d/sub/a"]


def test_two_directories_that_link_to_each_other_are_refused(project: Path) -> None:
    tree(project / "d", "a/x", "b/y")
    (project / "d" / "a" / "to").symlink_to("../b")
    (project / "d" / "b" / "to").symlink_to("../a")
    with pytest.raises(InvalidError, match="a directory that it lies in"):
        BASE.add_local_dir("d", "/d").to_wire()


def test_what_is_no_file_is_refused(project: Path) -> None:
    os.mkfifo(project / "site" / "pipe")
    with pytest.raises(InvalidError, match=r"site/pipe is no file"):
        BASE.add_local_dir("site", "/s").to_wire()


def test_files_have_a_limit(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "FILES_MAX", 2)
    tree(project / "d", "a", "b", "c")
    with pytest.raises(InvalidError, match=r"more than 2 local files in an image, the last is .*c"):
        BASE.add_local_dir("d", "/d").to_wire()


def test_modules_and_packages_land_where_containers_import_from(project: Path) -> None:
    tree(project, "package/__init__.py", "package/data.json", "package/sub/one.py", "bare/two.py")
    image = BASE.add_local_python_source("tools", "package", "bare")
    names = ["bare/two.py", "package/__init__.py", "package/sub/one.py", "tools.py"]
    assert paths(image) == [f"/root/{name}" for name in names]
    more = BASE.add_local_python_source("package", ignore=["**/__pycache__"])
    assert "/root/package/data.json" in paths(more)
    assert paths(BASE.add_local_python_source("package.sub")) == ["/root/package/sub/one.py"]


@pytest.mark.parametrize("name", ["not_there_at_all", "tools.not_there", "sys"])
def test_a_module_without_source_here_is_refused(name: str, project: Path) -> None:
    with pytest.raises(ModuleNotMountable, match=repr(name)) as refused:
        BASE.add_local_python_source(name)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("-e .", "an editable package stays"),
        ("./wheels/a.whl", "a local package stays"),
        ("-c other.txt", "constraints cannot be sent"),
        ("-r gone.txt", "there is no"),
        ("-r again.txt", "include each other"),
    ],
)
def test_requirements_that_only_this_machine_could_follow_are_refused(
    line: str, said: str, project: Path
) -> None:
    (project / "again.txt").write_text(f"numpy\n{line}\n")
    with pytest.raises(Exception, match=said):
        BASE.pip_install_from_requirements("again.txt")


def test_comments_in_requirements_rebuild_nothing(project: Path) -> None:
    (project / "other.txt").write_text("# why\n\n  requests  \n")
    one = BASE.pip_install_from_requirements("more.txt")
    assert one.to_wire() == BASE.pip_install_from_requirements("other.txt").to_wire()


@pytest.mark.parametrize(
    ("text", "said"),
    [("[tool.poetry]", "has no `dependencies`"), ("[", "is not valid TOML")],
)
def test_a_pyproject_without_packages_is_refused(text: str, said: str, project: Path) -> None:
    (project / "pyproject.toml").write_text(text)
    with pytest.raises(InvalidError, match=said):
        BASE.pip_install_from_pyproject("pyproject.toml")


def test_a_workspace_of_uv_is_refused(project: Path) -> None:
    (project / "pyproject.toml").write_text('[tool.uv.workspace]\nmembers = ["a"]\n')
    with pytest.raises(InvalidError, match="is a workspace of several packages"):
        BASE.uv_sync()


def test_nothing_is_looked_for_in_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that describes an image is imported there, and the local files are not there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_context, "container_id", "ta-1")
    image = (
        Image.from_dockerfile("Dockerfile", context_dir="site")
        .uv_pip_install(requirements=["gone.txt"])
        .pip_install_from_requirements("gone.txt")
        .pip_install_from_pyproject("gone.toml", ["web"])
        .uv_sync("gone")
        .poetry_install_from_file("gone.toml")
        .micromamba_install(spec_file="gone")
        .dockerfile_commands("COPY gone /", context_files={"x": "gone"})
        .workdir("/app")
        .add_local_file("gone", "x")
        .add_local_dir("gone", "y", ignore=FilePatternMatcher.from_file("gone"))
        .add_local_python_source("not_there_at_all")
    )
    assert repr(image) == "<volant.Image of dockerfile and 8 steps and 3 added>"


def test_a_misspelt_path_names_what_is_close(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").touch()
    (tmp_path / "data").mkdir()
    for make, name, near in (
        (Image.from_dockerfile, "Dockerfil", "Dockerfile"),
        (lambda path: BASE.add_local_dir(path, "/x"), "date", "data"),
    ):
        with pytest.raises(NotFoundError) as caught:
            make(tmp_path / name)
        assert caught.value.hint == f"did you mean {tmp_path / near}?"
    with pytest.raises(NotFoundError) as caught:
        BASE.add_local_file(tmp_path / "no" / "such", "/x")
    assert "begin in the working directory" in str(caught.value.hint)
