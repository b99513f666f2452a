"""Packages in images: real builds, of an index made here and of the one that this machine uses."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import uv

import volant
from tests.behaviours import host_base
from tests.behaviours.image_builds import home_of_images
from tests.behaviours.package_index import PackageIndex
from volant.errors import ImageBuildError
from volantd.images.packages.indexes import certificates
from volantd.images.packages.inside import TIME_NS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _pytest.tmpdir import TempPathFactory

    from tests.unit.images.registry_server import Registry


SITE = f"usr/local/lib/{host_base.SERIES}/{host_base.SITE}"


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    with PackageIndex() as server:
        server.add("words", "1.0", {"words/__init__.py": "COUNT = 1\n", "words/old.py": ""})
        server.add("words", "2.0", {"words/__init__.py": "COUNT = 2\n", "words/new.py": ""})
        server.add(
            "teller", "1.0", {"teller.py": "def main():\n    import words; print(words.COUNT)\n"},
            requires="words", script="tell = teller:main",
        )  # fmt: skip
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: TempPathFactory) -> Iterator[Path]:
    with home_of_images(tmp_path_factory, "packages") as made:
        yield made


@pytest.fixture
def base(registry: Registry, home: Path) -> volant.Image:
    return volant.Image.from_registry(f"{registry.host}/python:base")


def probe() -> dict[str, Any]:
    """What a container has of packages."""
    import importlib.metadata
    import os
    import subprocess
    import sys

    def listed(path: str) -> list[str]:
        return sorted(os.listdir(path)) if os.path.isdir(path) else []

    def said(program: str) -> str:
        if not os.path.exists(program):
            return ""
        return subprocess.run([program], capture_output=True, text=True, check=True).stdout

    ends = ("site-packages", "dist-packages")  # as Debian calls it
    site = next((path for path in sys.path if path.endswith(ends)), "/absent")
    found = [(one.name.lower(), one.version) for one in importlib.metadata.distributions()]
    return {
        "found": sorted(found),
        "words": listed(f"{site}/words"),
        "byte code": listed(f"{site}/words/__pycache__"),
        "tell": said("/usr/local/bin/tell"),
        "bin": listed("/usr/local/bin"),
        "own": listed("/.volant"),
        "home": listed("/root"),
    }


def look(image: volant.Image) -> dict[str, Any]:
    app = volant.App("packages", image=image)
    function = app.function(serialized=True)(probe)
    with app.run():
        return function.remote()


def layers_of(home: Path, file: str) -> list[Path]:
    """Where a file lies in layers, sorted by age."""
    found = home.glob(f"images/layers/*/diff/{SITE}/{file}")
    return sorted(found, key=lambda path: path.stat().st_ctime_ns)


def logs(home: Path) -> str:
    return "".join(path.read_text() for path in home.glob("images/logs/*"))


# -- what is installed


def test_packages_and_their_programs_are_there(base: volant.Image, index: PackageIndex) -> None:
    seen = look(base.pip_install("teller", index_url=index.url))
    assert seen["found"] == [("teller", "1.0"), ("words", "2.0")]
    assert seen["tell"] == "2\n"
    assert seen["words"] == ["__init__.py", "__pycache__", "new.py"]
    tag = host_base.SERIES.replace("python", "cpython-").replace(".", "")
    assert seen["byte code"] == [f"__init__.{tag}.pyc", f"new.{tag}.pyc"]
    assert seen["home"] == []
    assert not {"uv", "install", "bin"} & set(seen["own"]), "nothing of ours is in the image"


def test_a_later_step_replaces_what_an_earlier_one_installed(
    base: volant.Image, index: PackageIndex
) -> None:
    """And leaves alone what it need not touch, as an installer in the image itself would."""
    old = base.pip_install("words==1.0", index_url=index.url)
    assert look(old)["words"] == ["__init__.py", "__pycache__", "old.py"]
    kept = look(old.pip_install("teller", index_url=index.url))
    assert (kept["found"], kept["tell"]) == ([("teller", "1.0"), ("words", "1.0")], "1\n")
    new = old.pip_install("teller", "words>1", index_url=index.url)
    seen = look(new)
    assert (seen["found"], seen["tell"]) == ([("teller", "1.0"), ("words", "2.0")], "2\n")
    assert seen["words"] == ["__init__.py", "__pycache__", "new.py"]
    assert all("old" not in name for name in seen["byte code"])
    again = look(new.run_commands("true").pip_install("words<2", index_url=index.url))
    assert again["found"] == [("teller", "1.0"), ("words", "1.0")]
    assert again["words"] == ["__init__.py", "__pycache__", "old.py"]
    assert again["tell"] == "1\n"


def test_what_is_there_already_makes_an_empty_layer(
    base: volant.Image, index: PackageIndex
) -> None:
    image = base.pip_install("words==1.0", index_url=index.url)
    assert look(image.pip_install("words", index_url=index.url))["found"] == [("words", "1.0")]


def test_options_say_where_packages_go(base: volant.Image, index: PackageIndex) -> None:
    seen = look(
        base.pip_install("words", index_url=index.url, extra_options="--target /root/there")
    )
    assert (seen["found"], seen["home"]) == ([], ["there"])


def test_requirements_files_and_those_that_they_include(
    base: volant.Image, index: PackageIndex, tmp_path: Path
) -> None:
    (tmp_path / "more.txt").write_text("words<2\n")
    (tmp_path / "all.txt").write_text("-r more.txt\nteller\n")
    asked = base.pip_install_from_requirements(tmp_path / "all.txt", index_url=index.url)
    assert look(asked)["found"] == [("teller", "1.0"), ("words", "1.0")]
    both = base.uv_pip_install(
        "teller", requirements=[str(tmp_path / "more.txt")], index_url=index.url
    )
    assert look(both)["found"] == [("teller", "1.0"), ("words", "1.0")]


def test_the_dependencies_of_a_project_with_its_extras(
    base: volant.Image, index: PackageIndex, tmp_path: Path
) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text(
        '[project]\nname = "mine"\nversion = "1"\ndependencies = ["words==1.0"]\n'
        '[project.optional-dependencies]\ntold = ["teller"]\n'
    )
    plain = base.pip_install_from_pyproject(project, index_url=index.url)
    assert look(plain)["found"] == [("words", "1.0")]
    told = base.pip_install_from_pyproject(project, ["told"], index_url=index.url)
    assert look(told)["found"] == [("teller", "1.0"), ("words", "1.0")]


def test_an_image_in_which_the_daemons_uv_cannot_run(
    base: volant.Image, index: PackageIndex
) -> None:
    """It gets one that needs no libraries, from the index that this machine uses."""
    bare = base.run_commands("rm /usr/lib/base/libgcc_s.so.1")
    assert look(bare.pip_install("words", index_url=index.url))["found"] == [("words", "2.0")]


# -- how it lies on disk


def test_images_share_packages_by_links(
    base: volant.Image, index: PackageIndex, home: Path
) -> None:
    index.add("shared", "1.0", {"shared.py": "TEXT = '" + "x" * 100_000 + "'\n"})
    look(base.pip_install("shared", index_url=index.url))
    look(base.env({"OTHER": "1"}).pip_install("shared", "words", index_url=index.url))
    tag = host_base.SERIES.replace("python", "cpython-").replace(".", "")
    for name in ("shared.py", f"__pycache__/shared.{tag}.pyc"):
        first, second = layers_of(home, name)
        assert first.samefile(second), "one file on disk, with one set of blocks"
        assert first.stat().st_nlink == 3, "two layers and the cache"


def test_equal_steps_make_equal_layers(base: volant.Image, index: PackageIndex, home: Path) -> None:
    index.add("equal", "1.0", {"equal/__init__.py": "X = 1\n", "equal/data.txt": "data"})
    for number in ("1", "2"):
        look(base.env({"RUN": number}).pip_install("equal", index_url=index.url))
    trees = []
    for file in layers_of(home, "equal/__init__.py"):
        top = file.parents[len(SITE.split("/")) + 1]
        trees.append({
            str(path.relative_to(top)): (
                path.lstat().st_mode, path.lstat().st_mtime_ns,
                path.read_bytes() if path.is_file() else b"",
            )
            for path in top.rglob("*")
        })  # fmt: skip
    assert trees[0] == trees[1]
    assert {time for _, time, _ in trees[0].values()} == {TIME_NS}


# -- when it fails


def test_a_package_that_does_not_exist_is_named(base: volant.Image, index: PackageIndex) -> None:
    """Behaviour 87."""
    with pytest.raises(ImageBuildError) as caught:
        look(base.pip_install("absent", index_url=index.url))
    assert "`uv pip install absent` ended with exit code 1" in caught.value.message
    assert "absent was not found in the package registry" in caught.value.message
    assert "im-" in caught.value.message
    assert "volant image logs im-" in (caught.value.hint or "")


def test_a_package_for_another_python_is_named(base: volant.Image, index: PackageIndex) -> None:
    index.add("elsewhere", "1.0", {"elsewhere.py": ""}, tag="cp27-cp27m-win32")
    with pytest.raises(ImageBuildError, match="no wheels with a matching Python"):
        look(base.pip_install("elsewhere", index_url=index.url))


def test_versions_that_contradict_each_other_are_explained(
    base: volant.Image, index: PackageIndex
) -> None:
    index.add("strict", "1.0", {"strict.py": ""}, requires="words<2")
    with pytest.raises(ImageBuildError, match="requirements are unsatisfiable"):
        look(base.pip_install("strict", "words>=2", index_url=index.url))


def test_an_index_that_cannot_be_reached_is_named(base: volant.Image) -> None:
    with PackageIndex() as gone:
        url = gone.url
    with pytest.raises(ImageBuildError, match="Connection refused"):
        look(base.pip_install("words", index_url=url))


def test_passwords_of_an_index_are_shown_nowhere(
    base: volant.Image, index: PackageIndex, home: Path
) -> None:
    index.account = "reader:hunter22"
    assert look(base.pip_install("words", index_url=index.url))["found"] == [("words", "2.0")]
    with pytest.raises(ImageBuildError) as caught:
        look(base.pip_install("absent", f"words @ {index.url}/x", index_url=index.url))
    told = logs(home) + caught.value.message + str(caught.value.hint)
    told += "".join(path.read_text() for path in home.glob("*.log"))
    told += "".join(path.read_text() for path in home.glob("images/records/*"))
    assert "hunter22" not in told


# -- projects, from the index that this machine uses


def project(directory: Path, text: str) -> Path:
    (directory / "pyproject.toml").write_text(text)
    return directory


def test_what_a_project_of_uv_has_locked(base: volant.Image, tmp_path: Path) -> None:
    made = project(
        tmp_path,
        '[project]\nname = "mine"\nversion = "1"\nrequires-python = ">=3.10"\n'
        'dependencies = ["idna<3.8"]\n'
        '[project.optional-dependencies]\nmore = ["six"]\n'
        '[dependency-groups]\nserving = ["toolz"]\n',
    )
    locked = subprocess.run(
        [uv.find_uv_bin(), "lock", "--quiet", "--directory", made],
        env={**os.environ, "SSL_CERT_FILE": certificates() or ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert locked.returncode == 0, locked.stderr
    names = [name for name, _ in look(base.uv_sync(made))["found"]]
    assert names == ["idna"]
    more = look(base.uv_sync(made, groups=["serving"], extras=["more"]))["found"]
    assert [name for name, _ in more] == ["idna", "six", "toolz"]
    assert dict(more)["idna"] == "3.7"


def test_a_project_of_uv_without_a_lock(base: volant.Image, tmp_path: Path) -> None:
    text = '[project]\nname = "mine"\nversion = "1"\nrequires-python = ">=3.10"\n'
    made = project(tmp_path, text + 'dependencies = ["six==1.16.0"]\n')
    assert look(base.uv_sync(made))["found"] == [("six", "1.16.0")]


def test_a_project_of_poetry(base: volant.Image, index: PackageIndex, tmp_path: Path) -> None:
    """Poetry comes from the machine's index, the project's packages from one that it names."""
    for name in ("linter", "manual"):
        index.add(name, "1.0", {f"{name}.py": ""})
    made = project(
        tmp_path,
        '[tool.poetry]\nname = "mine"\nversion = "1"\ndescription = ""\nauthors = []\n'
        '[tool.poetry.dependencies]\npython = ">=3.10,<4"\nteller = "1.0"\n'
        '[tool.poetry.group.dev.dependencies]\nlinter = "1.0"\n'
        "[tool.poetry.group.docs]\noptional = true\n"
        '[tool.poetry.group.docs.dependencies]\nmanual = "1.0"\n'
        f'[[tool.poetry.source]]\nname = "own"\nurl = "{index.url}"\npriority = "primary"\n',
    )
    pyproject = made / "pyproject.toml"

    def found(**options: Any) -> list[str]:
        image = base.poetry_install_from_file(pyproject, ignore_lockfile=True, **options)
        return [name for name, _ in look(image)["found"]]

    assert found() == ["linter", "teller", "words"]
    assert found(with_=["docs"], without=["dev"]) == ["manual", "teller", "words"]
    assert found(only=["dev"], poetry_version="1.8.5") == ["linter"]


def test_packages_of_this_machines_index_by_an_older_uv(base: volant.Image) -> None:
    image = base.uv_pip_install("six==1.16.0", uv_version="0.6.17")
    assert look(image)["found"] == [("six", "1.16.0")]
