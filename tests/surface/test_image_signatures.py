"""The signatures of images and patterns: names, kinds and defaults of the programming model.

The list is that of the reference, section 3 and 1.12. A default is written as the model has it; an
empty list there may be any empty thing here.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import volant
from volant import FilePatternMatcher, Image
from volant.sdk.images.patterns import AUTO_DOCKERIGNORE
from volant.sdk.planned import Planned

AUTO = AUTO_DOCKERIGNORE
NEEDED = inspect.Parameter.empty
STANDARD = {"force_build": False, "env": None, "secrets": None, "gpu": None}
PIP = {
    "find_links": None, "index_url": None, "extra_index_url": None, "pre": False,
    "extra_options": "",
}  # fmt: skip
#: Method -> (positional ones, the name of `*args` if any, those by name only).
SIGNATURES: dict[str, tuple[dict[str, Any], str | None, dict[str, Any]]] = {
    "host": ({}, None, {}),
    "debian_slim": ({"python_version": None, "force_build": False}, None, {}),
    "micromamba": ({"python_version": None, "force_build": False}, None, {}),
    "from_registry": (
        {"tag": NEEDED, "secret": None}, None,
        {"setup_dockerfile_commands": [], "force_build": False, "add_python": None},
    ),
    "from_aws_ecr": (
        {"tag": NEEDED, "secret": None}, None,
        {"setup_dockerfile_commands": [], "force_build": False, "add_python": None},
    ),
    "from_gcp_artifact_registry": (
        {"tag": NEEDED, "secret": None}, None,
        {"setup_dockerfile_commands": [], "force_build": False, "add_python": None},
    ),
    "from_dockerfile": (
        {"path": NEEDED}, None,
        {
            "context_dir": None, "ignore": AUTO, "build_args": {}, "registry_secret": None,
            "add_python": None, **STANDARD,
        },
    ),
    "from_scratch": ({}, None, {"force_build": False}),
    "from_id": ({"image_id": NEEDED, "client": None}, None, {}),
    "from_name": ({"name": NEEDED}, None, {"environment_name": None, "client": None}),
    "pip_install": ({}, "packages", {**PIP, **STANDARD}),
    "uv_pip_install": (
        {}, "packages", {"requirements": None, "uv_version": None, **PIP, **STANDARD},
    ),
    "uv_sync": (
        {"uv_project_dir": "./"}, None,
        {
            "groups": None, "extras": None, "frozen": True, "extra_options": "",
            "uv_version": None, **STANDARD,
        },
    ),
    "pip_install_from_requirements": (
        {"requirements_txt": NEEDED, "find_links": None}, None,
        {**{name: PIP[name] for name in PIP if name != "find_links"}, **STANDARD},
    ),
    "pip_install_from_pyproject": (
        {"pyproject_toml": NEEDED, "optional_dependencies": []}, None, {**PIP, **STANDARD},
    ),
    "pip_install_private_repos": (
        {}, "repositories", {"git_user": NEEDED, **PIP, **STANDARD},
    ),
    "poetry_install_from_file": (
        {"poetry_pyproject_toml": NEEDED, "poetry_lockfile": None}, None,
        {
            "ignore_lockfile": False, "with_": [], "without": [], "only": [],
            "poetry_version": "latest", "old_installer": False, **STANDARD,
        },
    ),
    "micromamba_install": ({}, "packages", {"spec_file": None, "channels": [], **STANDARD}),
    "apt_install": ({}, "packages", STANDARD),
    "run_commands": ({}, "commands", {"volumes": None, **STANDARD}),
    "dockerfile_commands": (
        {}, "dockerfile_commands",
        {
            "context_files": {}, "context_dir": None, "ignore": AUTO, "build_args": {},
            **STANDARD,
        },
    ),
    "run_function": (
        {"raw_f": NEEDED}, None,
        {
            "args": (), "kwargs": {}, "volumes": {}, "cpu": None, "memory": None,
            "timeout": 3600, "cloud": None, "region": None, "include_source": True, **STANDARD,
        },
    ),
    "env": ({"vars": NEEDED}, None, {}),
    "workdir": ({"path": NEEDED}, None, {}),
    "shell": ({"shell_commands": NEEDED}, None, {}),
    "entrypoint": ({"entrypoint_commands": NEEDED}, None, {}),
    "cmd": ({"cmd": NEEDED}, None, {}),
    "add_local_file": (
        {"local_path": NEEDED, "remote_path": NEEDED}, None, {"copy": False},
    ),
    "add_local_dir": (
        {"local_path": NEEDED, "remote_path": NEEDED}, None, {"copy": False, "ignore": []},
    ),
    "add_local_python_source": (
        {}, "modules",
        {"copy": False, "ignore": volant.file_pattern_matcher.NON_PYTHON_FILES},
    ),
    "pipe": ({"recipe": NEEDED}, "args", {}),
    "imports": ({}, None, {}),
}  # fmt: skip


def _same(ours: object, model: object) -> bool:
    is_empty = model in ([], {}, ()) and ours in (None, (), [], {})
    return is_empty or (ours == model and type(ours) is type(model))


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_method_takes_what_the_model_says(name: str) -> None:
    positional, variable, by_name = SIGNATURES[name]
    parameters = dict(inspect.signature(getattr(Image, name)).parameters)
    parameters.pop("self", None)
    kinds = inspect.Parameter
    plain = (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
    ours = {key: one.default for key, one in parameters.items() if one.kind in plain}
    assert list(ours) == list(positional)
    assert all(_same(ours[key], positional[key]) for key in ours), ours
    starred = [key for key, one in parameters.items() if one.kind is kinds.VAR_POSITIONAL]
    assert starred == ([variable] if variable else [])
    named = {key: one.default for key, one in parameters.items() if one.kind is kinds.KEYWORD_ONLY}
    assert sorted(named) == sorted(by_name)
    assert all(_same(named[key], by_name[key]) for key in named), named


def test_every_method_has_its_signature_here() -> None:
    public = {
        name for name, member in inspect.getmembers(Image)
        if not name.startswith("_") and callable(member) and not isinstance(member, Planned)
    }  # fmt: skip
    machinery = {"described", "to_wire", "build_modules"}
    assert public - machinery == set(SIGNATURES)


@pytest.mark.parametrize("name", [name for name in SIGNATURES if SIGNATURES[name][2]])
def test_a_keyword_that_does_not_exist_is_pythons_own_error(name: str) -> None:
    if name == "pipe":
        return
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        getattr(Image.debian_slim("3.12"), name)(nonsense=1)


def test_patterns_are_those_of_the_model() -> None:
    """Section 1.12."""
    assert repr(FilePatternMatcher("a")) == "FilePatternMatcher('a')"
    assert repr(~FilePatternMatcher.from_file("x").with_repr("X")) == "~X"
