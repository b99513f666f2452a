"""How a function says that it answers to the web, from whoever describes it."""

from __future__ import annotations

from typing import Any

import pytest

import volant
from volantd.hub.web import checked


def described(**changes: Any) -> dict[str, Any]:
    """A function that the SDK has described, and what is different about how it answers."""

    @volant.web_server(8000)
    def serve() -> None: ...

    spec = volant.App().function(serialized=True)(serve).to_wire("m", 0)
    web: Any = spec["web"]
    return {**spec, "web": {**web, **changes}}


ENDPOINT = {"kind": "fastapi", "method": "GET", "port": None, "startup_timeout_s": None}


def test_what_the_sdk_describes_is_taken() -> None:
    checked.check(described(label="a-1", custom_domains=["example.com", "*.example.com"]))
    checked.check(described(**ENDPOINT))


def test_a_class_answers_by_its_methods() -> None:
    web = described()["web"]
    methods = [{"web": None}, {"web": web}]
    spec = {**described(), "web": None, "methods": methods}
    checked.check(spec)
    assert checked.forms_of(spec) == {1: web}
    with pytest.raises(ValueError, match="a class answers to the web by its methods"):
        checked.check({**spec, "web": web})


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "other"},
        {"kind": 3},
        {"kind": "asgi"},
        {"kind": "asgi", "port": None},
        {**ENDPOINT, "method": "FETCH"},
        {**ENDPOINT, "method": ["GET"]},
        {**ENDPOINT, "method": None},
        {"method": "GET"},
        {"label": "Capital"},
        {"label": "a" * 64},
        {"label": "a-"},
        {"label": "a.b"},
        {"label": ""},
        {"label": b"a"},
        {"port": 0},
        {"port": 1 << 16},
        {"port": None},
        {"port": True},
        {"startup_timeout_s": 0},
        {"startup_timeout_s": float("nan")},
        {"docs": 1},
        {"requires_proxy_auth": None},
        {"custom_domains": "example.com"},
        {"custom_domains": ["example..com"]},
        {"custom_domains": ["a" * 254]},
        {"custom_domains": ["example.com\r\nX-Header: 1"]},
        {"custom_domains": ["*"]},
        {"custom_domains": [1]},
        {"custom_domains": ["example.com"] * 33},
    ],
    ids=repr,
)
def test_what_the_sdk_would_not_describe_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        checked.check(described(**changes))


def test_what_is_taken_together_cannot_answer() -> None:
    spec = described()
    spec["options"] = {**spec["options"], "batch_size": 4}
    with pytest.raises(ValueError, match="requests cannot be taken together"):
        checked.check(spec)
