"""Classes with parameters over HTTP: the query of a request says which object answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

import volant
from tests.behaviours.apps import sized
from tests.behaviours.programs import WITHIN_S, containers
from volant.errors import InvalidError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    with sized.app.run():
        yield


def get(url: str | None, query: str = "") -> httpx.Response:
    return httpx.get(f"{url}{query}", timeout=WITHIN_S)


def url_of(cls: Any, **parameters: object) -> str:
    return str(cls(**parameters).ask.get_web_url())


PLAIN = {"size": 1}


def test_a_request_is_answered_by_the_object_that_its_query_names() -> None:
    url = url_of(sized.Model, size=1).partition("?")[0]
    first = get(url, "?size=1&limit=3&word=b+c%26").json()
    assert first["values"] == [1, False, "b c&"]
    assert first["query"] == "size=1&limit=3&word=b+c%26"  # all of it is the app's to read
    assert first["limit"] == 3
    other = get(url, "?loud=true&size=2").json()
    assert other["values"] == [2, True, "a"]
    assert other["container"] != first["container"]


def test_equal_parameters_share_containers_with_calls_and_other_spellings() -> None:
    where = sized.Model(size=30).where.remote()
    url = url_of(sized.Model, size=30)
    assert url.endswith("/?size=30")
    for query in ("", "&loud=0", "&word=a", "&unknown=1", "&%6Coud=False"):
        assert get(url, query).json()["container"] == where


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", "lacks the parameter `size`"),
        ("?size=x", "the parameter `size` must be a whole number of 64 bits, got 'x'"),
        ("?size=99999999999999999999", "the parameter `size` must be a whole number"),
        ("?size=1_0", "the parameter `size` must be a whole number"),
        ("?size=1&size=2", "the parameter `size` is given twice"),
        ("?size=1&loud=perhaps", "the parameter `loud` must be true or false"),
        ("?size=1&word=%ff", "the parameter `word` is no text"),
    ],
)
def test_a_query_that_makes_no_object_is_refused_and_starts_nothing(
    volant_home: Path, query: str, text: str
) -> None:
    before = len(containers(volant_home))
    response = get(url_of(sized.Model, size=1).partition("?")[0], query)
    assert response.status_code == 400
    assert text in response.text
    assert len(containers(volant_home)) <= before


def test_values_of_each_kind_go_through_an_address() -> None:
    url = url_of(sized.Various, ratio=1e-7, raw=b"\0\xff +&=", color=sized.Color.BLUE)
    assert get(url).json() == [1e-7, "00ff202b263d", "BLUE", 0, 7]
    plain = url.partition("?")[0]
    assert get(plain, "?kept=9").json() == [0.5, "", "RED", 0, 7]  # no parameter of requests
    for query in ("?color=GREEN", "?ratio=nan", "?ratio=1e999", "?point=1"):
        assert get(plain, query).status_code == 400


def test_what_no_query_can_say_has_no_address() -> None:
    with pytest.raises(InvalidError, match="dataclass"):
        url_of(sized.Various, point=sized.Point(3))
    constructed: Any = sized.Constructed
    with pytest.raises(InvalidError, match="__init__"):
        constructed(size=3).ask.get_web_url()


def test_a_deployed_object_has_an_address_and_keeps_it_through_deployments() -> None:
    sized.app.deploy()
    try:
        found = volant.Cls.from_name("sized", "Model")
        url = found(size=5, word="é").ask.get_web_url()
        assert str(url).endswith("/?size=5&word=%C3%A9")
        before = get(url).json()
        assert before["values"] == [5, False, "é"]
        sized.app.deploy(tag="again", strategy="rolling")
        assert get(url).json()["values"] == [5, False, "é"]
    finally:
        sized.app.stop()
