"""Dockerfiles followed: real builds, on a base made of this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.image_builds import home_of_images, registry_with_base
from volant.errors import ImageBuildError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _pytest.tmpdir import TempPathFactory


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    """The name of an image in a registry."""
    with registry_with_base() as server:
        yield f"{server.host}/python:base"


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: TempPathFactory) -> Iterator[Path]:
    with home_of_images(tmp_path_factory, "dockerfiles") as made:
        yield made


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with files to copy."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src/pkg").mkdir(parents=True)
    (tmp_path / "src/pkg/one.py").write_text("ONE = 1\n")
    (tmp_path / "src/two.py").write_text("TWO = 2\n")
    (tmp_path / "secret.key").write_text("secret")
    (tmp_path / ".dockerignore").write_text("*.key\n")
    return tmp_path


def files_of(image: volant.Image, *tops: str) -> dict[str, str]:
    """Path -> content of the small files below some directories of an image."""

    def read() -> dict[str, str]:

        found = {"cwd": os.getcwd(), "env": " ".join(f"{k}={v}" for k, v in os.environ.items())}
        for top in tops:
            for parent, _, names in os.walk(top):
                for name in names:
                    with open(os.path.join(parent, name)) as file:
                        found[os.path.join(parent, name)] = file.read()
        return found

    app = volant.App("files", image=image)
    function = app.function(serialized=True)(read)
    with app.run():
        found: dict[str, str] = function.remote()
        return found


DOCKERFILE = """
# The base is given from outside.
ARG BASE=absent
FROM ${BASE} AS build
ARG WORD=plain
ENV GREETING="hello $WORD" PLACE=/out
WORKDIR ${PLACE}
RUN echo "$GREETING" > greeting \\
    && echo "$WORD" > word
RUN <<END
echo first > lines
echo second >> lines
END
RUN python3 <<END
print("made by python", file=open("python", "w"))
END
RUN ["sh", "-c", "echo exec > exec"]

FROM ${BASE}
LABEL what="a test"
EXPOSE 80
COPY --from=build --chmod=755 /out /srv/out
COPY src/pkg src/*.py /srv/src/
COPY <<END /srv/written
text
END
WORKDIR /srv
ENV LEFT=over
"""


def test_a_dockerfile_is_followed(base: str, context: Path) -> None:
    """Stages, variables, the forms of RUN and COPY, and what it leaves set."""
    (context / "Dockerfile").write_text(DOCKERFILE)
    image = volant.Image.from_dockerfile("Dockerfile", build_args={"BASE": base, "WORD": "world"})
    seen = files_of(image, "/srv")
    env = seen.pop("env").split()
    assert seen == {
        "cwd": "/srv", "/srv/out/greeting": "hello world\n", "/srv/out/word": "world\n",
        "/srv/out/lines": "first\nsecond\n", "/srv/out/python": "made by python\n",
        "/srv/out/exec": "exec\n", "/srv/src/one.py": "ONE = 1\n", "/srv/src/two.py": "TWO = 2\n",
        "/srv/written": "text\n",
    }  # fmt: skip
    assert "LEFT=over" in env
    assert not any(word.startswith("GREETING") for word in env), "of another stage"


def test_instructions_follow_other_steps(base: str, context: Path) -> None:
    """Behaviour 84: what `.dockerignore` names is not copied."""
    image = volant.Image.from_registry(base).env({"A": "1"}).dockerfile_commands(
        "RUN mkdir -p /srv && echo $A > /srv/a", "COPY . /srv/all", "ENV B=$A$A",
    ).run_commands("echo $B > /srv/b")  # fmt: skip
    seen = files_of(image, "/srv")
    assert (seen["/srv/a"], seen["/srv/b"]) == ("1\n", "11\n")
    assert seen["/srv/all/src/two.py"] == "TWO = 2\n"
    assert "/srv/all/secret.key" not in seen


def test_a_change_rebuilds_from_where_it_is(base: str, context: Path) -> None:
    """Instructions before it are not run again: what they made by chance stays."""
    start = f"FROM {base}\nRUN mkdir /srv && cat /proc/sys/kernel/random/uuid > /srv/chance\n"
    (context / "Dockerfile").write_text(start + "RUN echo 1 > /srv/last\n")
    first = files_of(volant.Image.from_dockerfile("Dockerfile"), "/srv")
    (context / "Dockerfile").write_text(start + "RUN echo 2 > /srv/last\n")
    second = files_of(volant.Image.from_dockerfile("Dockerfile"), "/srv")
    assert second["/srv/chance"] == first["/srv/chance"]
    assert (first["/srv/last"], second["/srv/last"]) == ("1\n", "2\n")


def test_mounts_of_a_run_are_for_it_alone(base: str, context: Path) -> None:
    lines = [
        "RUN --mount=type=bind,source=src,target=/in cat /in/two.py > /copied",
        "RUN --mount=type=cache,target=/cache echo kept > /cache/x",
        "RUN --mount=type=cache,target=/cache mkdir /srv && cat /cache/x > /srv/x"
        " && cat /copied > /srv/copied",
    ]
    seen = files_of(volant.Image.from_registry(base).dockerfile_commands(*lines), "/srv", "/in",
                    "/cache")  # fmt: skip
    assert {name: seen[name] for name in seen if name.startswith("/")} == {
        "/srv/x": "kept\n", "/srv/copied": "TWO = 2\n",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("RUN cat /absent", r"`cat /absent` ended with exit code 1"),
        ("COPY --from=BASE-absent /a /b", r"base-absent"),
        ("COPY --from=debian_slim /a /b", r"it wants a Python as well, such as `debian_slim:3"),
        ("COPY --from=debian_slim:2.7 /a /b", r"images cannot have a Python '2\.7'"),
        ("COPY --chown=stranger src /b", r"the image has no user 'stranger'"),
        ("RUN --mount=type=secret,id=x,target=/x true", r"type=secret is not there yet"),
        ("RUN --network=none true", r"--network is not there yet"),
        ("ENV A=${A?}", r"a form that is not known"),
        ("SHELL bash", r"it wants the form"),
    ],
)
def test_what_cannot_be_followed_is_named(base: str, context: Path, line: str, said: str) -> None:
    image = volant.Image.from_registry(base).dockerfile_commands(line.replace("BASE", base))
    with pytest.raises(ImageBuildError, match=said):
        files_of(image)
