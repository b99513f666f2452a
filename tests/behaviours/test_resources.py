"""Memory that grows after a shortage, threads as many as cores, and a disk of one's own size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.behaviours.apps import granting
from tests.behaviours.programs import ask
from volant.errors import InternalFailure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _running() -> Iterator[None]:
    with granting.app.run():
        yield


@pytest.fixture
def _counted(volant_home: Path) -> None:
    granting.none.remote()
    if ask(volant_home, "server_status")["cgroup"] == "none":
        pytest.skip("no limits by cgroup for this user")


@pytest.mark.usefixtures("_counted")
def test_an_input_that_runs_out_of_memory_runs_again_with_a_higher_limit() -> None:
    """Issue 4, retries: 96 MiB, then 192, then 384."""
    assert granting.needs.remote(250) == 250 << 20
    assert granting.needs.remote(250) == 250 << 20


@pytest.mark.usefixtures("_counted")
def test_when_no_retry_is_left_the_last_limit_and_peak_are_told() -> None:
    """Issue 4, retries: OOM is reported as such."""
    with pytest.raises(InternalFailure) as caught:
        granting.needs.remote(900)
    told = str(caught.value)
    assert "died 3 times" in told
    assert "ran out of memory (limit 384 MiB, peak 38" in told


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"])
def test_libraries_are_told_as_many_threads_as_there_are_cores(name: str) -> None:
    """Issue 4, resources: the limit if there is one."""
    assert granting.threads.remote(name) == "3"
    mine = "7" if name == "OMP_NUM_THREADS" else "2"
    assert granting.threads_of_mine.remote(name) == mine
    assert granting.threads_unasked.remote(name) is None


@pytest.mark.slow
def test_who_writes_more_than_its_disk_is_ended_with_the_figures() -> None:
    """Issue 4, resources: `ephemeral_disk`."""
    assert granting.writes.remote(8) == 8
    with pytest.raises(InternalFailure, match=r"its ephemeral_disk is 32 MiB"):
        granting.writes.remote(200)
