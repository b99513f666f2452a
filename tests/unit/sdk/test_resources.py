"""What `@app.function` says about resources before anything runs."""

from __future__ import annotations

import pytest

import volant
from volant.errors import InvalidError

GROWING = volant.Retries(max_retries=2, memory_multiplier=2.0)


def _options(**given) -> dict[str, object]:
    @volant.App("resources").function(serialized=True, **given)
    def function() -> None:
        pass

    return function._options


def test_gpus_are_read_where_they_are_written():
    """Behaviour 138."""
    assert _options(gpu="h100:4")["gpu"] == [["H100", 4]]
    assert _options(gpu=["H100", "any"])["gpu"] == [["H100", 1], ["any", 1]]
    assert _options()["gpu"] == []
    with pytest.raises(InvalidError, match="no GPU is called"):
        _options(gpu="H1000")


def test_gpus_can_be_an_option_of_a_call_and_of_a_class():
    app = volant.App("options")

    @app.function(serialized=True)
    def function() -> None:
        pass

    @app.cls(gpu="t4", serialized=True)
    class Model:
        @volant.method()
        def run(self) -> None:
            pass

    assert function.with_options(gpu="L4:2") is not function
    assert Model.with_options(gpu="L4:2") is not Model
    with pytest.raises(InvalidError, match="from 1 to 8"):
        function.with_options(gpu="L4:9")


@pytest.mark.parametrize("disk", [0, -1, 1.5, True, "1", (3 << 20) + 1])
def test_a_disk_is_a_number_of_mebibytes(disk):
    with pytest.raises(InvalidError, match="ephemeral_disk must be from 1 to 3145728 MiB"):
        _options(ephemeral_disk=disk)


def test_memory_grows_only_from_a_limit():
    with pytest.raises(InvalidError, match="raises a limit of memory, and there is none"):
        _options(retries=GROWING, memory=256)
    retries = _options(retries=GROWING, memory=(64, 256))["retries"]
    assert retries["memory_multiplier"] == 2.0


def test_the_limit_that_memory_grows_from_may_be_the_functions():
    @volant.App("growing").function(serialized=True, memory=(64, 256))
    def limited() -> None:
        pass

    @volant.App("growing").function(serialized=True)
    def unlimited() -> None:
        pass

    limited.with_options(retries=GROWING)
    unlimited.with_options(retries=GROWING, memory=(64, 128))
    with pytest.raises(InvalidError, match="there is none"):
        unlimited.with_options(retries=GROWING)


@pytest.mark.parametrize("multiplier", [0.5, 11, "2", True])
def test_a_multiplier_is_from_one_to_ten(multiplier):
    with pytest.raises(InvalidError, match=r"memory_multiplier must be from 1\.0 to 10\.0"):
        volant.Retries(max_retries=1, memory_multiplier=multiplier)


def test_places_are_taken_and_change_nothing():
    """There is one machine: programs written for a data centre name regions and clouds."""
    placed = _options(
        region=["us", "eu-west"], cloud="aws", routing_region="us-east", nonpreemptible=True
    )
    assert placed == _options()
    volant.Image.debian_slim("3.12").run_function(test_memory_grows_only_from_a_limit, region="us")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"region": ["us", ""]}, "region must be the name of a region, got ''"),
        ({"cloud": 5}, "cloud must be the name of a cloud, got 5"),
        ({"cloud": ["aws"]}, "cloud must be the name of a cloud"),
        ({"nonpreemptible": "yes"}, "nonpreemptible must be True or False, got 'yes'"),
    ],
)
def test_a_place_has_a_name(given, text):
    with pytest.raises(InvalidError, match=text):
        _options(**given)
