"""Both drivers on a tree of plain files that looks like sysfs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from volantd.runtime import cgroup
from volantd.runtime.cgroup import Cgroups, Limits

OWN_V1 = "7:memory:/daemon\n6:pids:/\n5:cpu,cpuacct:/daemon\n4:freezer:/\n0::/\n"
OWN_V2 = "0::/user.slice/volant.scope\n"


@pytest.fixture
def hybrid(tmp_path: Path) -> tuple[str, str]:
    for name in ("memory/daemon", "pids", "cpu/daemon", "freezer", "unified"):
        (tmp_path / "sys" / name).mkdir(parents=True)
    (tmp_path / "sys/unified/cgroup.procs").touch()
    (tmp_path / "own").write_text(OWN_V1)
    return str(tmp_path / "sys"), str(tmp_path / "own")


@pytest.fixture
def unified(tmp_path: Path) -> tuple[str, str]:
    own = tmp_path / "sys/user.slice/volant.scope"
    own.mkdir(parents=True)
    (tmp_path / "sys/cgroup.controllers").write_text("cpu memory pids io")
    for name in ("cgroup.controllers", "cgroup.subtree_control", "cgroup.procs", "cgroup.type"):
        (own / name).write_text("cpu memory pids" if name == "cgroup.controllers" else "domain")
    (own / "cgroup.procs").write_text("")
    (tmp_path / "own").write_text(OWN_V2)
    return str(tmp_path / "sys"), str(tmp_path / "own")


def touch(group: cgroup.Cgroup, *names: str) -> None:
    """Give a leaf the files that the kernel would have put there."""
    for path in group.directories.values():
        for name in names:
            with open(f"{path}/{name}", "a"):
                pass


def test_own_groups_are_found_in_each_hierarchy(hybrid: tuple[str, str]) -> None:
    sysfs, own = hybrid
    assert cgroup.find_parents(sysfs, own) == (1, {
        "memory": f"{sysfs}/memory/daemon", "pids": f"{sysfs}/pids", "cpu": f"{sysfs}/cpu/daemon",
        "freezer": f"{sysfs}/freezer", "unified": f"{sysfs}/unified",
    })  # fmt: skip


def test_leaves_lie_below_the_run_below_the_daemon(hybrid: tuple[str, str]) -> None:
    groups = Cgroups.open("r1", sysfs=hybrid[0], own_path_file=hybrid[1])
    leaf = groups.create("c1")
    assert leaf.directories["memory"] == f"{hybrid[0]}/memory/daemon/volant-r1/c1"
    assert leaf.directories["unified"] == f"{hybrid[0]}/unified/volant-r1/c1"


def test_limits_of_version_1_go_to_their_files(hybrid: tuple[str, str]) -> None:
    groups = Cgroups.open("r1", sysfs=hybrid[0], own_path_file=hybrid[1])
    leaf = groups.create()
    touch(leaf, "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "pids.max",
          "cpu.cfs_quota_us", "cpu.shares")  # fmt: skip
    leaf.limit(Limits(memory_bytes=1 << 20, cpu_count=0.5, cpu_request=0.25, process_count=7))
    memory, pids, cpu = (leaf.directories[name] for name in ("memory", "pids", "cpu"))
    assert Path(f"{memory}/memory.limit_in_bytes").read_text() == "1048576"
    assert Path(f"{memory}/memory.memsw.limit_in_bytes").read_text() == "1048576"
    assert Path(f"{pids}/pids.max").read_text() == "7"
    assert Path(f"{cpu}/cpu.cfs_quota_us").read_text() == "50000"
    assert Path(f"{cpu}/cpu.shares").read_text() == "256"


@pytest.mark.parametrize(
    ("cores", "shares", "weight"),
    [(0.0001, 2, 1), (0.125, 128, 5), (1, 1024, 39), (2.5, 2560, 98), (1000, 262_144, 10_000)],
)
def test_a_request_of_processors_stays_within_what_kernels_take(
    cores: float, shares: int, weight: int
) -> None:
    assert (cgroup.shares_of(cores), cgroup.weight_of(cores)) == (shares, weight)


def test_a_request_is_passed_over_where_processors_are_not_delegated(
    unified: tuple[str, str],
) -> None:
    groups = Cgroups(version=2, parents={"unified": unified[0]}, run_id="r1")
    os.mkdir(groups.parents["unified"])
    leaf = groups.create()
    leaf.limit(Limits(cpu_request=1))
    assert os.listdir(leaf.directories["unified"]) == []


def test_counters_of_version_1_are_read(hybrid: tuple[str, str]) -> None:
    groups = Cgroups.open("r1", sysfs=hybrid[0], own_path_file=hybrid[1])
    leaf = groups.create()
    memory = leaf.directories["memory"]
    with open(f"{memory}/memory.oom_control", "w") as file:
        file.write("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    with open(f"{memory}/memory.max_usage_in_bytes", "w") as file:
        file.write("4096\n")
    assert leaf.oom_kill_count() == 3
    assert leaf.peak_memory_bytes() == 4096


def test_controllers_of_version_2_are_handed_down(unified: tuple[str, str]) -> None:
    sysfs, own = unified
    # The kernel makes this file with the directory; here it must be there before.
    run = f"{sysfs}/user.slice/volant.scope"
    with pytest.raises(cgroup.CgroupUnavailableError):
        Cgroups.open("r1", sysfs=sysfs, own_path_file=own)
    assert Path(f"{run}/cgroup.subtree_control").read_text() == "+memory +pids +cpu"


def test_limits_of_version_2_go_to_their_files(unified: tuple[str, str]) -> None:
    sysfs, _ = unified
    groups = Cgroups(version=2, parents={"unified": sysfs}, run_id="r1")
    (leaf_path,) = groups.parents.values()
    os.mkdir(leaf_path)
    leaf = groups.create()
    touch(leaf, "memory.max", "memory.swap.max", "pids.max", "cpu.max", "cpu.weight")
    leaf.limit(Limits(memory_bytes=4096, cpu_count=2, cpu_request=1, process_count=5))
    path = leaf.directories["unified"]
    names = ("memory.max", "memory.swap.max", "pids.max", "cpu.max", "cpu.weight")
    written = [Path(f"{path}/{name}").read_text() for name in names]
    assert written == ["4096", "0", "5", "200000 100000", "39"]
    with open(f"{path}/memory.events", "w") as file:
        file.write("low 0\noom 2\noom_kill 1\noom_group_kill 0\n")
    assert leaf.oom_kill_count() == 1
    assert leaf.peak_memory_bytes() == 0


def test_each_leaf_is_a_new_one(hybrid: tuple[str, str]) -> None:
    groups = Cgroups.open("r1", sysfs=hybrid[0], own_path_file=hybrid[1])
    made = [groups.create().directories["pids"] for _ in range(3)]
    assert len(set(made)) == 3


def test_missing_hierarchies_are_explained(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("")
    with pytest.raises(cgroup.CgroupUnavailableError, match="no memory and pids"):
        Cgroups.open("r1", sysfs=str(tmp_path), own_path_file=str(tmp_path / "own"))


def test_missing_delegation_is_explained(unified: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "sys/user.slice/volant.scope/cgroup.controllers").write_text("cpu")
    with pytest.raises(cgroup.CgroupUnavailableError, match="memory and pids not delegated"):
        Cgroups.open("r1", sysfs=unified[0], own_path_file=unified[1])


def test_who_starts_where_a_daemon_moved_it_does_not_nest(
    unified: tuple[str, str], tmp_path: Path
) -> None:
    sysfs, own = unified
    (tmp_path / "sys/user.slice/volant.scope/volant-daemon").mkdir()
    Path(own).write_text(OWN_V2.replace("volant.scope", "volant.scope/volant-daemon"))
    assert cgroup.find_parents(sysfs, own) == (2, {"unified": f"{sysfs}/user.slice/volant.scope"})


def test_a_run_below_the_leaf_of_daemons_is_removed(unified: tuple[str, str]) -> None:
    """Older versions made them there."""
    sysfs, _ = unified
    run = Path(sysfs, "user.slice/volant.scope/volant-daemon/volant-r9")
    (run / "c1").mkdir(parents=True)
    cgroup.remove_run("r9", sysfs=sysfs)
    assert not run.exists()


@pytest.mark.parametrize("other", ["volant-r2", "somebody"])
def test_the_last_run_of_version_2_puts_back_what_was_moved(
    unified: tuple[str, str], other: str
) -> None:
    sysfs, _ = unified
    path = Path(sysfs, "user.slice/volant.scope")
    groups = Cgroups(version=2, parents={"unified": str(path)}, run_id="r1")
    for name in ("volant-r1", "volant-daemon", other):
        (path / name).mkdir()
    groups.remove_all()
    assert (path / "volant-daemon").is_dir(), "the other group needs what is handed down"
    (path / other).rmdir()
    (path / "cgroup.subtree_control").write_text("memory pids cpu")
    groups.remove_all()
    assert not (path / "volant-daemon").exists()
    assert (path / "cgroup.subtree_control").read_text() == "-memory -pids -cpu"


def test_a_run_is_removed_wherever_it_lies(hybrid: tuple[str, str]) -> None:
    groups = Cgroups.open("r1", sysfs=hybrid[0], own_path_file=hybrid[1])
    groups.create()
    other = Cgroups.open("r2", sysfs=hybrid[0], own_path_file=hybrid[1])
    kept = other.create()
    cgroup.remove_run("r1", sysfs=hybrid[0])
    assert not any(os.path.exists(path) for path in groups.parents.values())
    assert all(os.path.isdir(path) for path in kept.directories.values())


def test_a_removed_group_stays_removed(hybrid: tuple[str, str]) -> None:
    groups = Cgroups.open("r1", sysfs=hybrid[0], own_path_file=hybrid[1])
    leaf = groups.create()
    assert leaf.remove()
    assert leaf.remove()


def test_a_group_says_whether_it_can_be_frozen(hybrid: tuple[str, str]) -> None:
    groups = Cgroups.open("r1", sysfs=hybrid[0], own_path_file=hybrid[1])
    leaf = groups.create()
    assert leaf.can_freeze
    del leaf.directories["freezer"]
    assert not leaf.can_freeze
    touch(leaf, "cgroup.freeze")
    assert leaf.can_freeze
