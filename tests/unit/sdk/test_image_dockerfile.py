"""Dockerfiles: which instructions are refused, and which files of the context are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from volant import Image
from volant.errors import InvalidError

if TYPE_CHECKING:
    from pathlib import Path

BASE = Image.debian_slim("3.12")


@pytest.fixture
def context(project: Path) -> Path:
    for name in ("a.txt", "src/one.py", "src/two.pyc", "src/deep/three.py", "big/data.bin"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(name)
    return project


def files(image: Image) -> list[str]:
    steps: Any = image.to_wire()["steps"]
    return [path for path, *_ in steps[-1]["files"]]


@pytest.mark.parametrize(
    ("commands", "sent"),
    [
        ("RUN ls", []),
        ("COPY a.txt /a", ["a.txt"]),
        ("copy --chown=1:1 ./a.txt more.txt /x/", ["a.txt", "more.txt"]),
        ('ADD ["a.txt", "/a b"]', ["a.txt"]),
        ("COPY src /src", ["src/deep/three.py", "src/one.py", "src/two.pyc"]),
        ("COPY src/*.py /src/", ["src/one.py"]),
        ("COPY s?c/deep /x", ["src/deep/three.py"]),
        ("COPY /src/deep/three.py \\\n  /x", ["src/deep/three.py"]),
        ("COPY --from=ghcr.io/astral-sh/uv /uv /bin/uv", []),
        ("ADD https://example.com/x.tar /x", []),
        ("COPY <<EOF /x\nCOPY gone /y\nEOF\nCOPY a.txt /a", ["a.txt"]),
        ("RUN cat <<'END' > /x\nnothing of ours\nEND", []),
        ("RUN cat <<< word", []),
        ("# COPY gone /\nRUN true", []),
        ("RUN --mount=type=bind,source=src/deep,target=/t ls /t", ["src/deep/three.py"]),
        ("RUN --mount=type=cache,target=/c --mount=type=bind,src=a.txt,target=/t ls", ["a.txt"]),
        ("RUN --mount=type=bind,from=other,source=x,target=/t ls", []),
    ],
)
def test_only_what_an_instruction_copies_is_sent(
    commands: str, sent: list[str], context: Path
) -> None:
    assert files(BASE.dockerfile_commands(commands)) == sent


@pytest.mark.parametrize("source", [".", "./", "*", "$WHAT", "${A}/x"])
def test_the_whole_context_is_sent_when_it_is_meant_or_may_be(source: str, context: Path) -> None:
    sent = files(BASE.dockerfile_commands(f"COPY {source} /x"))
    assert {"a.txt", "src/deep/three.py", "big/data.bin", "Dockerfile"} <= set(sent)


def test_what_nobody_copies_is_not_even_looked_at(context: Path) -> None:
    (context / "broken").symlink_to("nowhere")
    (context / "big" / "out").symlink_to("/etc")
    assert files(BASE.dockerfile_commands("COPY src/*.py /x")) == ["src/one.py"]


@pytest.mark.parametrize("ignore", [["**/*.pyc", "src/deep"], None])
def test_ignored_files_are_not_copied(ignore: list[str] | None, context: Path) -> None:
    """Behaviour 84: `.dockerignore` counts where nothing else was given."""
    (context / ".dockerignore").write_text("# what is made\n**/*.pyc\n\n/src/deep/\n")
    given: dict[str, Any] = {} if ignore is None else {"ignore": ignore}
    assert files(BASE.dockerfile_commands("COPY src /x", **given)) == ["src/one.py"]
    assert files(BASE.dockerfile_commands("COPY src /x", ignore=[])) != ["src/one.py"]


def test_a_dockerfile_may_have_its_own_ignore_file(context: Path) -> None:
    """Behaviour 84."""
    (context / "Dockerfile").write_text("ARG V=1\nFROM python:$V\nCOPY src /x\n")
    (context / ".dockerignore").write_text("**\n")
    (context / "Dockerfile.dockerignore").write_text("**/*.pyc\n!src/one.pyc\n")
    assert files(Image.from_dockerfile("Dockerfile")) == ["src/deep/three.py", "src/one.py"]


def test_a_dockerfile_is_a_base_with_all_its_lines(context: Path) -> None:
    image = Image.from_dockerfile(
        "Dockerfile", context_dir=context, add_python="3.12", build_args={"A": "1"},
        env={"B": "2"}, force_build=True,
    )  # fmt: skip
    wire = image.to_wire()
    steps: Any = wire["steps"]
    (step,) = steps
    (sent,) = step.pop("files")
    assert sent[0] == "more.txt"
    assert step == {
        "kind": "dockerfile", "commands": ["FROM python:3.12-slim", "COPY more.txt /more.txt"],
        "add_python": "3.12", "auth": None, "build_args": {"A": "1"}, "env": {"B": "2"},
        "force": True,
    }  # fmt: skip
    (context / "Dockerfile").write_text("FROM debian\n")
    assert files(image) == [], "it is read when the app runs"


def test_a_context_directory_is_where_sources_begin(context: Path) -> None:
    assert files(BASE.dockerfile_commands("COPY deep /x", context_dir="src")) == ["deep/three.py"]


def test_files_from_elsewhere_join_the_context(context: Path) -> None:
    given = {"/conf/x.txt": "more.txt"}
    image = BASE.dockerfile_commands("COPY conf a.txt /c/", context_files=given)
    assert files(image) == ["a.txt", "conf/x.txt"]


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        ("VOLUME /data", "VOLUME has no meaning"),
        ("onbuild RUN ls", "ONBUILD has no meaning"),
        ("STOPSIGNAL 9", "STOPSIGNAL has no meaning"),
        ("pip install x", "'pip install x' is no instruction"),
        ("FROM debian", "FROM would begin another image"),
        ("COPY a.txt", "needs a source and a destination"),
        ('COPY ["a.txt"', "cannot be read"),
        ("COPY 'a.txt /x", "cannot be read"),
        ("RUN a \\", "ends with a backslash"),
        ("RUN cat <<END", "no line 'END' ends the text after RUN"),
        (["RUN a", 3], "takes strings"),
    ],
)
def test_an_instruction_that_cannot_be_followed_is_refused(
    commands: Any, said: str, context: Path
) -> None:
    with pytest.raises(InvalidError, match=said):
        BASE.dockerfile_commands(commands)


def test_a_dockerfile_is_checked_at_once(context: Path) -> None:
    (context / "Dockerfile").write_text("RUN ls\n")
    with pytest.raises(InvalidError, match="does not begin with FROM"):
        Image.from_dockerfile("Dockerfile")
    (context / "Dockerfile").write_text("FROM a\nVOLUME /x\n")
    with pytest.raises(InvalidError, match="from_dockerfile: VOLUME"):
        Image.from_dockerfile("Dockerfile")
