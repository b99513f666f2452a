"""What of /etc is copied, and which trees may be shown."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from volantd.runtime import tree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    place = tmp_path / "etc"
    for name in ("ssl/private", "ssl/certs", "ssh", "alternatives", "fonts/conf.d", "java-17"):
        (place / name).mkdir(parents=True)
    for name in ("hosts", "services", "shadow", "ssh/ssh_host_key", "ssl/private/key.pem",
                 "ssl/openssl.cnf", "passwd", "group", "fonts/fonts.conf", "java-17/a.cfg",
                 "gitconfig", "machine-id"):  # fmt: skip
        (place / name).write_text(name)
    (place / "hosts").chmod(0o644)
    return place


@pytest.fixture
def copy(etc: Path, tmp_path: Path):
    def build() -> Path:
        tree.build_base(str(tmp_path / "base"), str(etc))
        return tmp_path / "base/etc"

    return build


def names_below(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*") if not path.is_dir()}


def test_only_what_is_allowed_is_copied(copy) -> None:
    assert names_below(copy()) == {
        "hosts", "services", "ssl/openssl.cnf", "passwd", "group", "fonts/fonts.conf",
        "java-17/a.cfg",
    }  # fmt: skip


def test_users_are_synthetic(copy) -> None:
    base = copy()
    assert (base / "passwd").read_text().startswith("root:x:0:0:")
    assert "passwd" not in (base / "passwd").read_text()


def test_private_files_are_left_out_even_where_allowed(etc: Path, copy) -> None:
    (etc / "services").chmod(0o640)
    (etc / "fonts/conf.d").chmod(0o700)
    (etc / "fonts/conf.d/x").write_text("x")
    found = names_below(copy())
    assert "services" not in found
    assert "fonts/conf.d/x" not in found


def test_links_out_of_what_is_shown_become_what_they_point_to(
    etc: Path, copy, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/resolv.conf").write_text("nameserver 1.2.3.4")
    (etc / "resolv.conf").symlink_to(tmp_path / "run/resolv.conf")
    (etc / "localtime").symlink_to("/usr/share/zoneinfo/Etc/UTC")
    (etc / "networks").symlink_to("services")
    (etc / "profile").symlink_to("shadow")
    (etc / "shells").symlink_to("nowhere")
    (etc / "shadow").chmod(0o640)
    base = copy()
    assert (base / "resolv.conf").read_text() == "nameserver 1.2.3.4"
    assert not (base / "resolv.conf").is_symlink()
    assert os.readlink(base / "localtime") == "/usr/share/zoneinfo/Etc/UTC"
    assert os.readlink(base / "networks") == "services"
    assert not os.path.lexists(base / "profile"), "it points to a secret"
    assert not os.path.lexists(base / "shells"), "it points to nothing"


def test_name_resolution_is_copied_again_when_it_changes(etc: Path, copy, tmp_path: Path) -> None:
    base = copy()
    (etc / "hosts").write_text("changed")
    os.utime(etc / "hosts", ns=(1, 1))
    tree.refresh_base(str(tmp_path / "base"), str(etc))
    assert (base / "hosts").read_text() == "changed"


def test_trees_below_others_are_left_out() -> None:
    trees = ["/usr/local/lib", "/usr", "/opt/venv/", "/opt/venv2"]
    kept = [path for path in tree.judge_trees(trees, "/srv/state/z1") if path != "/lib"]
    assert kept == ["/opt/venv", "/opt/venv2", "/usr"]


@pytest.mark.parametrize(
    "path",
    ["/", "/etc", "/root", "/home", "/proc", "relative", "/usr/../etc", "/srv", "/srv/state"],
)
def test_trees_that_would_show_too_much_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="cannot be shown"):
        tree.judge_trees([path], "/srv/state/z1")


def test_the_root_has_mount_points_for_every_tree(tmp_path: Path) -> None:
    tree.build_root(str(tmp_path), ["/opt/a b/venv", "/usr", "/root/.local/python"], None)
    root = tmp_path / "root"
    for name in ("opt/a b/venv", "usr", "root/.local/python", "proc", "dev", "tmp", ".volant/sdk"):
        assert (root / name).is_dir()
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert (tmp_path / "scratch").stat().st_mode & 0o777 == 0o700


def test_of_mounts_in_each_other_the_outermost_are_found():
    points = ["/usr", "/usr/a/b", "/usr/a", "/usr/a", "/usr/ab", "/usr/a/b/c", "/usrs", "/", "/opt"]
    assert tree.outermost("/usr", points) == ["/usr/a", "/usr/ab"]
    assert tree.outermost("/srv", points) == []
