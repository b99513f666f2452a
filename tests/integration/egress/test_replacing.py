"""Headers that requests get outside of a sandbox, and secrets that stay there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.egress.chamber import FailedError
from tests.integration.egress.outside import NOW_S
from tests.integration.egress.test_outlet import ask, greet
from volantd.egress.authority import Authority
from volantd.egress.policy import Replacement

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.egress.outside import Stage

SECRET = "very-secret"  # for tests
GET = b"GET /a HTTP/1.1\r\nHost: %s\r\nAuthorization: mine\r\nX-Other: kept\r\n\r\n"


@pytest.fixture
def replacing(make_stage: Callable[..., Stage], authority: Authority) -> Stage:
    """Replaces a header for `api.test`, and lets `good.test` be reached as it is."""
    chain, key = authority.issue("api.test")
    headers = {"authorization": f"Bearer {SECRET}"}
    one = Replacement(domain="api.test", headers=headers, chain=chain, key=key)
    return make_stage("api.test", "good.test", replacements=(one,))


def test_requests_get_their_header_outside(replacing: Stage) -> None:
    server = replacing.serve("api.test", "1.1.1.1", 443, tls=True)
    assert greet(replacing, "api.test", GET % b"api.test", "api.test").startswith("HTTP/1.1 200")
    (heard,) = server.heard
    assert f"authorization: Bearer {SECRET}".encode() in heard.replace(b"Authorization", b"x")
    assert b"mine" not in heard
    assert b"kept" in heard


def test_a_request_inside_for_somebody_else_gets_no_secret(replacing: Stage) -> None:
    server = replacing.serve("api.test", "1.1.1.1", 443, tls=True)
    other = replacing.serve("good.test", "1.0.0.1", 443, tls=True)
    answer = greet(replacing, "api.test", GET % b"good.test", "api.test")
    assert answer.startswith("HTTP/1.1 403")
    assert SECRET not in answer
    assert not server.heard
    assert not other.heard


def test_plain_requests_get_no_secret(replacing: Stage) -> None:
    server = replacing.serve("api.test", "1.1.1.1", 80)
    assert ask(replacing, GET % b"api.test").startswith("HTTP/1.1 200")
    assert SECRET.encode() not in b"".join(server.heard)


def test_a_server_that_is_not_who_it_says_gets_no_secret(replacing: Stage) -> None:
    server = replacing.serve("api.test", "1.1.1.1", 443, tls=True)
    impostor = replacing.serve("evil.test", "1.0.0.1", 443, tls=True)
    replacing.outside.names["api.test"] = ["1.0.0.1"]
    answer = greet(replacing, "api.test", GET % b"api.test", "api.test")
    assert answer.startswith("HTTP/1.1 502")
    assert not server.heard
    assert not impostor.heard


def test_domains_without_replacement_speak_for_themselves(replacing: Stage) -> None:
    server = replacing.serve("good.test", "1.1.1.1", 443, tls=True)
    assert greet(replacing, "good.test", b"no request").endswith("ok")
    assert server.heard == [b"no request"]


def test_a_pattern_is_stood_in_for(make_stage: Callable[..., Stage], authority: Authority) -> None:
    chain, key = authority.issue("*.api.test")
    one = Replacement(domain="*.api.test", headers={"x-key": SECRET}, chain=chain, key=key)
    stage = make_stage(is_open=True, replacements=(one,))
    server = stage.serve("a.api.test", "1.1.1.1", 443, tls=True)
    answer = greet(stage, "a.api.test", GET % b"a.api.test", "a.api.test")
    assert answer.startswith("HTTP/1.1 200")
    assert f"x-key: {SECRET}".encode() in server.heard[0]


def test_no_other_authority_is_believed_inside(
    make_stage: Callable[..., Stage], authority: Authority
) -> None:
    stranger = Authority("another sandbox", NOW_S)
    chain, key = stranger.issue("api.test")
    one = Replacement(domain="api.test", headers={"x-key": SECRET}, chain=chain, key=key)
    stage = make_stage("api.test", replacements=(one,))
    stage.serve("api.test", "1.1.1.1", 443, tls=True)
    with pytest.raises(FailedError, match="CERTIFICATE_VERIFY_FAILED"):
        greet(stage, "api.test", GET % b"api.test", "api.test")
    assert authority.certificate != stranger.certificate


def test_a_domain_that_nobody_has_is_said_to_be_out_of_reach(replacing: Stage) -> None:
    request = b"GET / HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n"
    assert greet(replacing, "api.test", request, "api.test").startswith("HTTP/1.1 502")
