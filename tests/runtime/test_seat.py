"""Containers are born in their cgroups, because their zygote waits there, and goes on."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from volantd.runtime import cgroup as cgroups
from volantd.runtime.client import RuntimeFailedError
from volantd.runtime.seat import Leaves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.laboratory import Container, Laboratory
    from volantd.runtime.cgroup import Cgroup, Cgroups
    from volantd.runtime.client import Zygote

FORKS = 20
MEMORY_BYTES = 64 << 20


class Nursery:
    """Makes leaves and remembers them; `failures` is how many it will not make."""

    def __init__(self, groups: Cgroups) -> None:
        self.groups = groups
        self.home = groups.create("home")
        self.made: list[Cgroup] = []
        self.failures = 0

    def make(self) -> Cgroup:
        if self.failures:
            self.failures -= 1
            raise OSError("no more groups")
        self.made.append(self.groups.create())
        return self.made[-1]

    def left(self) -> list[Cgroup]:
        """Leaves that are not removed."""
        return [leaf for leaf in self.made if os.path.exists(leaf.procs_files[0])]


@pytest.fixture
def leaves(lab: Laboratory) -> Iterator[Nursery]:
    try:
        groups = cgroups.Cgroups.open(f"{lab.run_id}-seat")
    except cgroups.CgroupUnavailableError as error:
        pytest.skip(str(error))
    yield Nursery(groups)
    groups.remove_all()


@pytest.fixture
def zygote(lab: Laboratory, leaves: Nursery) -> Iterator[Zygote]:
    made = lab.zygote(leaves=Leaves(leaves.make), cgroup=leaves.home)
    yield made
    if not made.exited.done():
        lab.end(made)


def _alone(lab: Laboratory, container: Container) -> Cgroup:
    """Its cgroup, once the zygote has left it."""
    place = container.forked.place
    assert place is not None

    async def wait() -> None:
        await place.alone

    lab.run(wait())
    return place.cgroup


def test_a_container_is_in_its_cgroup_before_it_runs_and_then_alone_there(
    lab: Laboratory, zygote: Zygote
) -> None:
    container = lab.fork(zygote)
    place = container.forked.place
    assert place is not None
    assert container.forked.pid in place.cgroup.process_ids()
    assert _alone(lab, container).process_ids() == {container.forked.pid}
    container.end()
    place.remove()


def test_the_zygote_waits_in_a_leaf_without_a_container(
    lab: Laboratory, zygote: Zygote, leaves: Nursery
) -> None:
    containers = [lab.fork(zygote) for _ in range(2)]
    lab.eventually(lambda: any(leaf.process_ids() == {zygote.pid} for leaf in leaves.made))
    taken = [_alone(lab, container) for container in containers]
    assert all(zygote.pid not in leaf.process_ids() for leaf in taken)
    assert zygote.pid not in leaves.home.process_ids()
    for container in containers:
        container.end()


def test_what_the_import_takes_is_counted_as_the_zygotes(lab: Laboratory, leaves: Nursery) -> None:
    source = "import builtins; builtins.kept = bytearray(32 << 20)"
    zygote = lab.zygote(source, leaves=Leaves(leaves.make), cgroup=leaves.home)
    container = lab.fork(zygote)
    assert _alone(lab, container).peak_memory_bytes() < 16 << 20
    assert leaves.home.peak_memory_bytes() > 32 << 20
    container.end()
    lab.end(zygote)


def test_forks_at_once_each_get_a_leaf(lab: Laboratory, zygote: Zygote) -> None:
    async def many() -> list[Container]:
        return await asyncio.gather(*(lab.fork_async(zygote) for _ in range(FORKS)))

    containers = lab.run(many())
    found = [_alone(lab, container) for container in containers]
    assert len({id(leaf) for leaf in found}) == FORKS
    for container, leaf in zip(containers, found, strict=True):
        assert leaf.process_ids() == {container.forked.pid}
        container.end()


def test_memory_that_runs_out_in_one_leaves_the_zygote_alive(
    lab: Laboratory, zygote: Zygote
) -> None:
    limits = cgroups.Limits(memory_bytes=MEMORY_BYTES)
    bomb, group = lab.fork_limited(zygote, limits)
    other, other_group = lab.fork_limited(zygote, limits)
    with pytest.raises(ConnectionResetError):
        bomb.ask("kept = [bytearray(1 << 20) for _ in range(4096)]")
    assert bomb.wait() == signal.SIGKILL
    assert (group.oom_kill_count(), other_group.oom_kill_count()) == (1, 0)
    assert not zygote.exited.done()
    assert other.ask("result = 1") == 1
    lab.fork(zygote).end()
    bomb.close()
    other.end()


def test_a_leaf_is_removed_only_after_the_zygote_has_left_it(
    lab: Laboratory, zygote: Zygote, leaves: Nursery
) -> None:
    for _ in range(5):
        container = lab.fork(zygote)
        assert container.forked.place is not None
        container.forked.place.remove()
        container.wait()  # killed by the removal
        container.close()
    lab.eventually(lambda: len(leaves.left()) == 1)
    assert not zygote.exited.done()


def test_the_leaf_ahead_is_removed_when_the_zygote_ends(
    lab: Laboratory, zygote: Zygote, leaves: Nursery
) -> None:
    lab.eventually(leaves.left)
    lab.end(zygote)
    lab.eventually(lambda: not leaves.left())
    assert leaves.home.remove()


def test_forks_that_wait_hear_of_the_end_of_the_zygote(
    lab: Laboratory, zygote: Zygote, leaves: Nursery
) -> None:
    async def many() -> list[object]:
        forks = [asyncio.ensure_future(lab.fork_async(zygote)) for _ in range(5)]
        await asyncio.sleep(0)
        zygote.kill()
        return await asyncio.gather(*forks, return_exceptions=True)

    answers = lab.run(many())
    assert any(isinstance(answer, RuntimeFailedError) for answer in answers)
    for container in list(lab.containers):
        if container.forked.place in [*map(_place_of, answers)]:
            container.wait()
            container.forked.place.remove()  # type: ignore[union-attr]  # it is of a seated zygote
            container.close()
    lab.eventually(lambda: not leaves.left())


def test_a_leaf_that_cannot_be_made_fails_one_fork_and_sends_the_zygote_home(
    lab: Laboratory, zygote: Zygote, leaves: Nursery
) -> None:
    lab.eventually(lambda: any(zygote.pid in leaf.process_ids() for leaf in leaves.made))
    leaves.failures = 2
    container = lab.fork(zygote)  # in the leaf ahead; there is no further one
    assert _alone(lab, container).process_ids() == {container.forked.pid}
    assert zygote.pid in leaves.home.process_ids()
    with pytest.raises(RuntimeFailedError, match="no more groups"):
        lab.fork(zygote)
    container.end()
    lab.fork(zygote).end()


def test_a_fork_that_fails_gives_its_leaf_back(
    lab: Laboratory, zygote: Zygote, leaves: Nursery
) -> None:
    with pytest.raises(RuntimeFailedError, match="c-bad"):
        lab.run(zygote.fork("c-bad", hostname="h", limits={"files": -5}))
    lab.eventually(lambda: len(leaves.left()) == 1)
    lab.fork(zygote).end()


def _place_of(answer: object) -> object:
    return answer.forked.place if hasattr(answer, "forked") else None
