"""`experimental_options=`: what is known is taken, and whatever else warns."""

from __future__ import annotations

import pytest

import volant
from volant.errors import InvalidError


class Loaded:
    @volant.enter(snap=True)
    def load(self) -> None: ...

    @volant.method()
    def ask(self) -> None: ...


@pytest.mark.parametrize(("asked", "snapshot"), [(True, False), (False, True)])
def test_hooks_that_use_a_gpu_run_where_there_is_one(asked: bool, snapshot: bool) -> None:
    """A snapshot holds none, so they run in each container."""
    made = volant.App().cls(
        gpu="H100", enable_memory_snapshot=True, serialized=True,
        experimental_options={"enable_gpu_snapshot": asked},
    )(type("Model", (Loaded,), {}))  # fmt: skip
    assert made._function._options["snapshot"] is snapshot  # type: ignore[attr-defined]  # a Cls


def test_a_server_may_say_it_as_well() -> None:
    class Served:
        @volant.enter(snap=True)
        def load(self) -> None: ...

        @volant.enter()
        def start(self) -> None: ...

    made = volant.App().server(
        enable_memory_snapshot=True, serialized=True,
        experimental_options={"enable_gpu_snapshot": True},
    )(Served)  # fmt: skip
    assert made._cls is not None
    assert made._cls._function._options["snapshot"] is False


def test_what_is_not_known_warns() -> None:
    with pytest.warns(UserWarning, match="experimental_options: 'faster' is not known here"):
        volant.App().function(experimental_options={"faster": True})


def test_what_is_no_dict_is_refused() -> None:
    with pytest.raises(InvalidError, match="experimental_options must be a dict, got 'faster'"):
        volant.App().function(experimental_options="faster")  # type: ignore[arg-type]  # refused


def test_what_is_not_asked_for_is_taken() -> None:
    """Programs write out what means nothing."""
    volant.App().function(i6pn=False, proxy=None, restrict_modal_access=False)
