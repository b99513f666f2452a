"""The autoscaler of one pool, changed while it works."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import volant
from tests.behaviours.apps import scaling
from tests.behaviours.apps.scaling import Model, Named, WornOut, other, where, worn_out
from tests.support import eventually
from volant.errors import AsyncUsageWarning, ExecutionError, InvalidError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _running() -> Iterator[None]:
    with scaling.app.run():
        yield


def test_a_change_returns_all_settings_and_none_leaves_them() -> None:
    before = where.autoscaler.settings()
    assert (before.min_containers, before.max_containers) == (0, 4)
    assert (before.buffer_containers, before.scaledown_window) == (0, 60.0)
    after = where.update_autoscaler(max_containers=3, scaledown_window=5)
    assert (after.max_containers, after.scaledown_window) == (3, 5.0)
    assert where.update_autoscaler() == after
    assert where.update_autoscaler(max_containers=None) == after
    assert where.autoscaler.settings() == after


def test_none_in_update_stands_for_the_default() -> None:
    where.update_autoscaler(buffer_containers=2, scaledown_window=5)
    after = where.autoscaler.update(max_containers=None, scaledown_window=None)
    assert (after.max_containers, after.scaledown_window) == (None, 60.0)
    assert after.buffer_containers == 2


def test_a_minimum_is_kept_ready_and_lets_go_again() -> None:
    where.update_autoscaler(min_containers=2, scaledown_window=0.05)
    eventually(lambda: where.get_current_stats().input_headroom == 2)
    where.update_autoscaler(min_containers=0)
    eventually(lambda: where.get_current_stats().num_total_runners == 0)


def test_an_object_changes_its_own_pool_alone() -> None:
    """Behaviour 66: nor does it change the class, or a method taken from another object."""
    large: Any = Model(size=2)
    small: Any = Model(size=1)
    large.update_autoscaler(min_containers=1)
    assert large.autoscaler.settings().min_containers == 1
    assert large.where.autoscaler.settings().min_containers == 1
    assert small.autoscaler.settings().min_containers == 0
    eventually(lambda: large.get_current_stats().num_total_runners == 1)
    assert small.get_current_stats().num_total_runners == 0


def test_a_variant_changes_its_own_pool_alone() -> None:
    large = where.with_options(memory=256)
    large.update_autoscaler(min_containers=1)
    same = where.with_options(memory=256)
    assert same.autoscaler.settings().min_containers == 1
    assert where.autoscaler.settings().min_containers == 0


def test_user_code_in_a_container_changes_what_it_can_call() -> None:
    """Behaviour 66, from inside, too."""
    for form in (scaling.keep_other, scaling.keep_other_async):
        changed, settings, stats = form.remote(1)
        assert changed == settings
        assert settings.min_containers == 1
        assert stats.num_total_runners == 1
    model: Any = Model(size=7)
    assert model.keep.remote(1).min_containers == 1
    assert model.autoscaler.settings().min_containers == 1
    untouched: Any = Model(size=8)
    assert untouched.autoscaler.settings().min_containers == 0


def test_in_async_code_it_is_awaited() -> None:
    async def use() -> None:
        after = await where.autoscaler.update.aio(min_containers=1)
        assert after.min_containers == 1
        assert await where.autoscaler.settings.aio() == after
        assert (await where.get_current_stats.aio()).num_total_runners >= 1
        with pytest.warns(AsyncUsageWarning, match=r"await where\.get_current_stats\.aio"):
            where.get_current_stats()

    asyncio.run(use())


def test_values_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidError, match="min_containers must be a number of containers"):
        where.update_autoscaler(min_containers=-1)
    with pytest.raises(InvalidError, match=r"min_containers \(9\) is above max_containers \(4\)"):
        where.update_autoscaler(min_containers=9)
    with pytest.raises(InvalidError, match="scaledown_window must be from"):
        where.autoscaler.update(scaledown_window=0.001)
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        where.autoscaler.update(colour="red")  # type: ignore[call-arg]  # on purpose


def test_an_attribute_of_the_class_itself_comes_first() -> None:
    named: Any = Named()
    assert named.autoscaler == "mine"
    assert named.get_current_stats().backlog == 0


def test_records_say_what_they_hold() -> None:
    assert "min_containers=0" in repr(where.autoscaler.settings())
    stats = other.get_current_stats()
    assert "backlog=0" in repr(stats)
    assert hash(stats) == hash(other.get_current_stats())
    assert stats != where.autoscaler.settings()


def test_without_a_running_app_there_is_no_autoscaler() -> None:
    from tests.behaviours.apps import classes

    with pytest.raises(ExecutionError, match="does not run"):
        classes.identify.update_autoscaler(min_containers=1)


def test_a_container_that_takes_no_more_inputs_leaves_the_rest_to_others() -> None:
    """Those that it was sent ahead are run elsewhere, each once."""
    where_each_ran = list(worn_out.map([1, 1, 2, 1, 1]))
    assert len(set(where_each_ran)) == 2
    assert where_each_ran[0] == where_each_ran[2] != where_each_ran[4]


def test_a_shared_container_that_takes_no_more_inputs_runs_its_exit_hooks() -> None:
    handle: Any = WornOut()
    first = handle.where.remote(1)
    assert handle.where.remote(2) == first
    assert handle.where.remote(1) != first


def test_here_there_are_no_inputs_to_be_stopped() -> None:
    with pytest.raises(ExecutionError, match="only means something in a container"):
        volant.experimental.stop_fetching_inputs()
