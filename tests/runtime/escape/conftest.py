"""Two containers of one zygote: the one that tries to get out, and a neighbour."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from volantd.runtime import cgroup as cgroups
from volantd.runtime.seat import Leaves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.runtime.laboratory import Container, Laboratory
    from volantd.runtime.client import Zygote


@pytest.fixture(scope="module")
def zygote(container_lab: Laboratory) -> Zygote:
    return container_lab.zygote("import multiprocessing")


@pytest.fixture
def container(container_lab: Laboratory, zygote: Zygote) -> Iterator[Container]:
    forked = container_lab.fork(zygote, {"file_size_bytes": 8 << 20})
    yield forked
    forked.end()


@pytest.fixture
def other(container_lab: Laboratory, zygote: Zygote) -> Iterator[Container]:
    forked = container_lab.fork(zygote)
    yield forked
    forked.end()


@pytest.fixture
def seated(container_lab: Laboratory) -> Iterator[Zygote]:
    """A zygote whose containers have cgroups."""
    try:
        groups = cgroups.Cgroups.open(f"test-{os.getpid()}")
    except cgroups.CgroupUnavailableError as error:
        pytest.skip(str(error))
    zygote = container_lab.zygote(leaves=Leaves(groups.create))
    yield zygote
    container_lab.end(zygote)
    groups.remove_all()
