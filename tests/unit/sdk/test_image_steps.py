"""What each step of an image is on the wire, and what its method refuses."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

import pytest

from volant import CloudBucketMount, Image, Secret
from volant.errors import InvalidError, NotFoundError, UnimplementedError
from volant.sdk.planned import Former
from volantd.images.keys import keys_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BASE = Image.debian_slim("3.12")
INDEX = {
    "find_links": None, "index_url": None, "extra_index_url": None, "pre": False,
    "extra_options": "",
}  # fmt: skip
PIP = {"kind": "pip", "packages": [], "requirements": None, **INDEX, "installer": "uv"}
TOKEN = Secret.from_dict({"GITHUB_TOKEN": "hidden"})
MORE = sha256(b"requests\n").hexdigest()


def steps(image: Image) -> list[dict[str, Any]]:
    wire = image.to_wire()
    assert wire["kind"] == "built"
    found: Any = wire["steps"]
    return found


@pytest.mark.parametrize(
    ("image", "step"),
    [
        (BASE, {"kind": "debian_slim", "python": "3.12"}),
        (Image.micromamba("3.11"), {"kind": "micromamba", "python": "3.11"}),
        (Image.from_scratch(), {"kind": "scratch"}),
        (Image.from_id("im-0aZ"), {"kind": "id", "image_id": "im-0aZ"}),
        (Image.from_name("base"), {"kind": "name", "name": "base", "tag": "latest"}),
        (Image.from_name("base:v1.2"), {"kind": "name", "name": "base", "tag": "v1.2"}),
        (
            Image.from_registry("python:3.12-slim"),
            {
                "kind": "registry", "reference": "docker.io/library/python:3.12-slim",
                "add_python": None, "auth": None,
            },
        ),
        (
            Image.from_registry("ghcr.io/o/i", TOKEN, add_python="3.13", force_build=True),
            {
                "kind": "registry", "reference": "ghcr.io/o/i:latest", "add_python": "3.13",
                "auth": ["GITHUB_TOKEN"], "force": True,
            },
        ),
    ],
)  # fmt: skip
def test_a_base_is_the_first_step(image: Image, step: dict[str, Any]) -> None:
    """Behaviour 86 for names: `latest` is the tag of a name without one."""
    assert steps(image) == [step]


@pytest.mark.parametrize(
    ("add", "step"),
    [
        (lambda i: i.pip_install("b", ["a"]), {**PIP, "packages": ["a", "b"]}),
        (
            lambda i: i.pip_install(
                "a", find_links="f", index_url="u", extra_index_url="x", pre=True,
                extra_options=" --no-deps ", env={"A": "1"}, secrets=[TOKEN], force_build=True,
            ),
            {
                **PIP, "packages": ["a"], "find_links": "f", "index_url": "u",
                "extra_index_url": "x", "pre": True, "extra_options": "--no-deps",
                "env": {"A": "1"}, "secrets": ["GITHUB_TOKEN"], "force": True,
            },
        ),
        (
            lambda i: i.uv_pip_install("a", requirements=["more.txt"], uv_version="0.9.1"),
            {**PIP, "packages": ["a"], "requirements": MORE, "uv_version": "0.9.1"},
        ),
        (
            lambda i: i.pip_install_from_requirements("more.txt"),
            {**PIP, "requirements": MORE},
        ),
        (
            lambda i: i.pip_install_from_pyproject("pyproject.toml", ["web"]),
            {**PIP, "packages": ["flask", "numpy", "uvicorn"]},
        ),
        (
            lambda i: i.pip_install_private_repos(
                "github.com/o/b@main", "gitlab.com/o/a", git_user="me", secrets=[TOKEN]
            ),
            {
                "kind": "private_repos",
                "repositories": ["github.com/o/b@main", "gitlab.com/o/a"], "git_user": "me",
                **INDEX, "secrets": ["GITHUB_TOKEN"],
            },
        ),
        (
            lambda i: i.micromamba_install("b", "a", spec_file="more.txt", channels=["z", "c"]),
            {
                "kind": "micromamba_install", "packages": ["a", "b"], "spec_file": MORE,
                "channels": ["z", "c"],
            },
        ),
        (lambda i: i.apt_install("git", "curl"), {"kind": "apt", "packages": ["curl", "git"]}),
        (lambda i: i.run_commands("b", ["a"]), {"kind": "run", "commands": ["b", "a"]}),
        (
            lambda i: i.dockerfile_commands("ENV A=1\nRUN ls", build_args={"V": "1"}),
            {
                "kind": "dockerfile", "commands": ["ENV A=1", "RUN ls"], "files": [],
                "build_args": {"V": "1"},
            },
        ),
        (lambda i: i.env({"A": "1"}), {"kind": "env", "variables": {"A": "1"}}),
        (lambda i: i.workdir("/app/../data"), {"kind": "workdir", "path": "/data"}),
        (lambda i: i.workdir("sub"), {"kind": "workdir", "path": "/root/sub"}),
        (lambda i: i.shell(["/bin/sh", "-c"]), {"kind": "shell", "words": ["/bin/sh", "-c"]}),
        (lambda i: i.entrypoint([]), {"kind": "entrypoint", "words": []}),
        (lambda i: i.cmd(["python"]), {"kind": "cmd", "words": ["python"]}),
    ],
)  # fmt: skip
def test_a_step_says_all_that_its_method_was_given(
    add: Callable[[Image], Image], step: dict[str, Any], project: Path
) -> None:
    """Behaviour 83 for `force_build`, which is left out when it is false."""
    assert steps(add(BASE))[1:] == [step]


def test_projects_of_uv_and_poetry_travel_by_content(project: Path) -> None:
    pyproject = sha256((project / "pyproject.toml").read_bytes()).hexdigest()
    (synced,) = steps(BASE.uv_sync(groups=["b", "a"], extras=["x"]))[1:]
    assert synced == {
        "kind": "uv_sync", "pyproject": pyproject, "lock": None, "groups": ["a", "b"],
        "extras": ["x"], "frozen": True, "extra_options": "",
    }  # fmt: skip
    for name in ("uv.lock", "poetry.lock"):
        (project / name).write_text("locked")
    locked = sha256(b"locked").hexdigest()
    assert steps(BASE.uv_sync(str(project)))[1]["lock"] == locked
    (poetry,) = steps(BASE.poetry_install_from_file("pyproject.toml", only=["main"]))[1:]
    assert poetry == {
        "kind": "poetry", "pyproject": pyproject, "lock": locked, "with": [], "without": [],
        "only": ["main"], "poetry_version": "latest", "old_installer": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    "add",
    [
        lambda i: i.pip_install(),
        lambda i: i.pip_install([]),
        lambda i: i.uv_pip_install(),
        lambda i: i.micromamba_install(),
        lambda i: i.apt_install(),
        lambda i: i.run_commands(),
        lambda i: i.dockerfile_commands(),
        lambda i: i.env({}),
        lambda i: i.add_local_python_source(),
        lambda i: i.pip_install_private_repos(git_user="me", secrets=[TOKEN]),
    ],
)
def test_a_step_with_nothing_to_do_adds_nothing(add: Callable[[Image], Image]) -> None:
    """As in a recipe whose list of packages may be empty."""
    image = BASE.add_local_file(__file__, "/x")
    assert add(image).to_wire() == image.to_wire()


@pytest.mark.parametrize("version", ["3.9", "3.15", "2.7", "3", "", "latest", "3.12.1"])
def test_a_python_that_images_cannot_have_is_refused(version: str) -> None:
    """Behaviour 85."""
    for make in (Image.debian_slim, Image.micromamba):
        with pytest.raises(InvalidError, match=rf"python_version '{re.escape(version)}' is not"):
            make(version)
    with pytest.raises(InvalidError, match="from_registry: add_python"):
        Image.from_registry("ubuntu", add_python=version)


@pytest.mark.parametrize("version", [3.1, 3.12, 3, True, ("3.12",)])
def test_a_python_that_is_no_string_is_refused(version: Any) -> None:
    """Behaviour 85: as a number 3.10 is 3.1, which no check could tell from a mistake."""
    with pytest.raises(InvalidError, match=r"must be a string, got") as refused:
        Image.debian_slim(version)
    assert "quotes" in str(refused.value.hint)


def test_the_hint_names_the_series_of_a_patch_release() -> None:
    """Behaviour 85."""
    with pytest.raises(InvalidError) as refused:
        Image.debian_slim("3.12.1")
    assert '"3.12"' in str(refused.value.hint)


WRONG: list[tuple[Callable[[Any], object], str]] = [
    (lambda i: i.entrypoint("bash"), r"entrypoint must be a list of strings, got 'bash'"),
    (lambda i: i.cmd(["a", 1]), r"cmd must be a list of strings, got \['a', 1\]"),
    (lambda i: i.shell("sh -c"), "shell must be a list of strings"),
    (lambda i: i.shell([]), "shell needs a program"),
    (lambda i: i.env({"A": 1}), "env must map strings to strings, got 'A': 1"),
    (lambda i: i.env({"A": None}), "env must map strings to strings, got 'A': None"),
    (lambda i: i.env({"A=B": "1"}), "'A=B' cannot be the name of a variable"),
    (lambda i: i.env(["A"]), "env must be a dict"),
    (lambda i: i.pip_install("a", env={"A": 1}), "pip_install: env must map strings"),
    (lambda i: i.apt_install("git", secrets="x"), "apt_install: secrets must be a list"),
    (lambda i: i.apt_install("git", secrets=["x"]), "apt_install: secrets must be a list"),
    (lambda i: i.pip_install("-r", "x.txt"), "'-r' is an option, not a package"),
    (lambda i: i.pip_install(3), "pip_install takes strings and lists of strings, got 3"),
    (lambda i: i.pip_install("a", ""), "pip_install takes strings and lists of strings, got ''"),
    (lambda i: i.pip_install("a", index_url=3), "pip_install: index_url must be a string, got 3"),
    (lambda i: i.pip_install("a", extra_options=["--pre"]), "extra_options must be a string"),
    (lambda i: i.uv_pip_install("a", requirements="x.txt"), "requirements must be a list"),
    (lambda i: i.uv_pip_install("a", uv_version=1), "uv_version must be a string, got 1"),
    (lambda i: i.uv_sync(groups="dev"), "uv_sync: groups must be a list of strings, got 'dev'"),
    (lambda i: i.run_commands(["a", None]), "run_commands takes strings"),
    (lambda i: i.workdir(""), "workdir must be a path in the container, got ''"),
    (lambda i: i.workdir(3), "workdir must be a path in the container, got 3"),
    (lambda i: i.pip_install_private_repos("github.com/o/n", git_user="me"), "needs a secret"),
    (
        lambda i: i.pip_install_private_repos("o/n", git_user="me", secrets=[TOKEN]),
        "'o/n' is not a repository",
    ),
    (lambda i: i.from_registry("Python:3"), "'Python:3' is not the name of an image"),
    (lambda i: i.from_registry("a@sha256:1"), "is not the name of an image"),
    (lambda i: i.from_registry("a", "token"), "one volant.Secret is needed, got 'token'"),
    (lambda i: i.from_id("base"), "'base' is not the id of an image"),
    (lambda i: i.from_id("im-a/b"), "is not the id of an image"),
    (lambda i: i.from_name("im-x"), "'im-x' cannot be the name of an image"),
    (lambda i: i.from_name("a:b:c"), "'b:c' cannot be the tag of image 'a'"),
    (lambda i: i.from_name("a:"), "'' cannot be the tag of image 'a'"),
    (lambda i: i.from_name("a b"), "'a b' cannot be the name of an image"),
    (lambda i: i.from_name(3), "the name of an image must be a string, got 3"),
    (lambda i: i.run_function(print), "run_function needs a plain function"),
    (lambda i: i.add_local_dir("site", "/s", ignore="x"), "ignore must be a list of patterns"),
    (lambda i: i.add_local_dir("site", "/s", ignore=["[a"]), r"without its `\]`"),
    (lambda i: i.add_local_dir("site", "/s", ignore=["[z-a]"]), "cannot be understood"),
    (lambda i: i.add_local_dir("more.txt", "/s"), "is no directory"),
    (lambda i: i.add_local_file("site", "/s"), "is a directory"),
    (lambda i: i.add_local_file(3, "/s"), "add_local_file must be a path, got 3"),
    (lambda i: i.add_local_file("more.txt", ""), "remote_path must be a path in the container"),
    (lambda i: i.add_local_file("more.txt", "/."), "'/.' cannot be a file"),
    (lambda i: i.add_local_python_source("a/b"), "'a/b' is not the name of a module"),
    (lambda i: i.pip_install_from_pyproject("pyproject.toml", ["x"]), "no optional dependencies"),
]


@pytest.mark.parametrize(("add", "said"), WRONG)
def test_a_wrong_argument_raises_where_it_is_written(
    add: Callable[[Any], object], said: str, project: Path
) -> None:
    """Behaviours 81, 85 and 86; every message names the value, and most have a hint."""
    with pytest.raises(InvalidError, match=said):
        add(BASE)


@pytest.mark.parametrize(
    ("add", "said"),
    [
        (lambda i: i.add_local_file("gone", "/x"), "add_local_file: there is no /.*/gone"),
        (lambda i: i.add_local_dir("gone", "/x"), "add_local_dir: there is no"),
        (lambda i: i.pip_install_from_requirements("gone"), "there is no"),
        (lambda i: i.uv_pip_install(requirements=["gone"]), "there is no"),
        (lambda i: i.uv_sync("site"), r"there is no .*site/pyproject\.toml"),
        (lambda i: i.poetry_install_from_file("pyproject.toml"), r"there is no .*poetry\.lock"),
        (lambda i: i.micromamba_install(spec_file="gone"), "there is no"),
        (lambda i: i.from_dockerfile("gone"), "there is no"),
        (lambda i: i.dockerfile_commands("COPY gone /"), "'gone' is copied, and there is no"),
        (
            lambda i: i.dockerfile_commands("COPY a /", context_files={"a": "gone"}),
            "context_files: there is no",
        ),
    ],
)
def test_a_file_that_is_not_there_raises_at_once(
    add: Callable[[Any], object], said: str, project: Path
) -> None:
    """And the hint says where relative paths begin, or what to do instead."""
    with pytest.raises(NotFoundError, match=said) as refused:
        add(BASE)
    assert refused.value.hint


@pytest.mark.parametrize(
    ("add", "named"),
    [
        (lambda i: i.pip_install("a", gpu="T4"), r"Image\.pip_install\(gpu=\.\.\.\)"),
        (
            lambda i: i.run_commands("a", volumes={"/v": CloudBucketMount("b")}),
            r"a CloudBucketMount in Image\.run_commands\(volumes=\.\.\.",
        ),
    ],
)
def test_a_keyword_whose_feature_is_not_there_says_so(
    add: Callable[[Any], object], named: str
) -> None:
    with pytest.raises(UnimplementedError, match=named):
        add(BASE)


def project_function() -> None: ...


ADDERS: list[Callable[[Any], Image]] = [
    lambda i: i.pip_install("a"),
    lambda i: i.uv_pip_install("a"),
    lambda i: i.pip_install_from_requirements("more.txt"),
    lambda i: i.pip_install_from_pyproject("pyproject.toml"),
    lambda i: i.pip_install_private_repos("github.com/o/n", git_user="m", secrets=[TOKEN]),
    lambda i: i.uv_sync(),
    lambda i: i.poetry_install_from_file("pyproject.toml", ignore_lockfile=True),
    lambda i: i.micromamba_install("a"),
    lambda i: i.apt_install("a"),
    lambda i: i.run_commands("a"),
    lambda i: i.dockerfile_commands("RUN a"),
    lambda i: i.run_function(project_function),
    lambda i: i.env({"A": "1"}),
    lambda i: i.workdir("/w"),
    lambda i: i.shell(["sh"]),
    lambda i: i.entrypoint(["x"]),
    lambda i: i.cmd(["x"]),
    lambda i: i.add_local_file("more.txt", "/m", copy=True),
    lambda i: i.add_local_dir("site", "/s", copy=True),
    lambda i: i.add_local_python_source("tools", copy=True),
]
ATTACHERS: list[Callable[[Any], Image]] = [
    lambda i: i.add_local_file("more.txt", "/m"),
    lambda i: i.add_local_dir("site", "/s"),
    lambda i: i.add_local_python_source("tools"),
]


@pytest.mark.parametrize("add", [*ADDERS, *ATTACHERS])
def test_a_method_returns_a_new_image_and_leaves_its_own_as_it_was(
    add: Callable[[Any], Image], project: Path
) -> None:
    """Behaviour 80; and every method changes what is sent."""
    before = BASE.to_wire()
    made = add(BASE)
    assert made is not BASE
    assert type(made) is Image
    assert BASE.to_wire() == before
    assert made.to_wire() != before
    with pytest.raises(AttributeError):
        made.anything = 1  # type: ignore[attr-defined]


#: Methods of images that are no steps of one.
NO_STEPS = {
    "build", "build_modules", "client", "described", "from_id", "get_dashboard_url", "hydrate",
    "imports", "is_hydrated", "logs", "object_id", "pipe", "publish", "to_wire",
}  # fmt: skip


def test_every_step_method_makes_a_key_of_its_own(project: Path) -> None:
    """Issue 3; and none is forgotten here."""
    named = {cast("Any", add).__code__.co_names[0] for add in ADDERS}
    methods = {
        name for one in Image.__mro__ for name, value in vars(one).items()
        if not name.startswith("_") and not isinstance(value, (classmethod, staticmethod, Former))
    }  # fmt: skip
    assert named == methods - NO_STEPS
    images = [BASE, *(add(BASE) for add in ADDERS[1:])]
    keys = {keys_of(cast("Any", image.to_wire()["steps"]))[-1] for image in images}
    assert len(keys) == len(images)
    assert ADDERS[0](BASE).to_wire() == ADDERS[1](BASE).to_wire(), "uv installs both"


@pytest.mark.parametrize("add", ADDERS)
@pytest.mark.parametrize("attach", ATTACHERS)
def test_a_build_step_after_added_files_is_refused(
    add: Callable[[Any], Image], attach: Callable[[Any], Image], project: Path
) -> None:
    """Behaviour 79."""
    with pytest.raises(InvalidError, match="without copy=True") as refused:
        add(attach(BASE))
    assert "copy=True" in str(refused.value.hint)


def test_files_can_be_added_after_added_files(project: Path) -> None:
    """Behaviour 79: only what is built must come before."""
    image = BASE.add_local_file("more.txt", "/m", copy=True)
    for attach in ATTACHERS:
        image = attach(image)
    attached: Any = image.to_wire()["attached"]
    assert [path for path, *_ in attached] == ["/m", "/root/tools.py", "/s/index.html"]


@pytest.mark.parametrize("add", [*ADDERS, *ATTACHERS])
def test_nothing_is_built_on_the_host_image(add: Callable[[Any], Image], project: Path) -> None:
    with pytest.raises(InvalidError, match=r"cannot follow Image\.host\(\)") as refused:
        add(Image.host())
    assert "debian_slim" in str(refused.value.hint)


def test_the_order_of_packages_rebuilds_nothing() -> None:
    one, other = BASE.pip_install("a", "b"), BASE.pip_install(["b"], "a")
    assert one.to_wire() == other.to_wire()


def test_commands_before_the_rest_of_a_registry_image_are_a_step() -> None:
    image = Image.from_registry("ubuntu", setup_dockerfile_commands=["RUN apt-get update"])
    assert steps(image)[1]["commands"] == ["RUN apt-get update"]


@pytest.mark.parametrize(
    ("given", "whole"),
    [
        ("python", "docker.io/library/python:latest"),
        ("nvidia/cuda:12.4.1-devel", "docker.io/nvidia/cuda:12.4.1-devel"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/a/b_c:1", "localhost:5000/a/b_c:1"),
        ("quay.io/a/b@sha256:" + "0" * 64, "quay.io/a/b@sha256:" + "0" * 64),
        ("docker.io/python:3", "docker.io/library/python:3"),
    ],
)
def test_a_name_in_a_registry_gets_all_its_parts(given: str, whole: str) -> None:
    assert steps(Image.from_registry(given))[0]["reference"] == whole
