"""Whom policies allow; behaviour 124 of the reference."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from volantd.egress.policy import (
    Policy,
    Replacement,
    checked_domain,
    checked_headers,
    matches,
    plain_name,
)


def policy(*networks: str, **fields: Any) -> Policy:
    """A policy of some networks."""
    return Policy(networks=tuple(map(ipaddress.ip_network, networks)), **fields)


@pytest.mark.parametrize(
    ("networks", "address", "allowed"),
    [
        (["1.1.1.0/24"], "1.1.1.9", True),
        (["1.1.1.0/24"], "1.1.2.9", False),
        (["1.1.1.0/24"], "::ffff:1.1.1.9", True),
        (["0.0.0.0/0"], "1.1.1.9", True),
        (["0.0.0.0/0"], "10.0.0.1", False),
        (["0.0.0.0/0"], "169.254.169.254", False),
        (["0.0.0.0/0", "::/0"], "::ffff:169.254.169.254", False),
        (["::/0"], "fd00:ec2::254", False),
        (["::/0"], "64:ff9b::a00:1", False),
        (["8.0.0.0/6"], "10.0.0.1", False),
        (["10.0.0.0/8"], "10.0.0.1", True),
        (["169.254.169.254/32"], "169.254.169.254", True),
        (["127.0.0.0/8", "127.0.0.1/32", "::1/128"], "127.0.0.1", False),
        (["127.0.0.0/8", "::1/128"], "::1", False),
        (["0.0.0.0/32"], "0.0.0.0", False),
        ([], "1.1.1.1", False),
    ],
)
def test_addresses_are_allowed_by_networks_that_name_them(
    networks: list[str], address: str, allowed: bool
) -> None:
    """Behaviour 124."""
    assert policy(*networks).allows(ipaddress.ip_address(address)) is allowed


def test_an_address_of_this_machine_has_to_be_named_itself() -> None:
    ours = ipaddress.ip_address("5.6.7.8")
    assert not policy("5.6.7.0/24").allows(ours, is_ours=True)
    assert policy("5.6.7.8/32").allows(ours, is_ours=True)
    assert not policy("5.6.7.0/24").reaches(ours, is_ours=True)


def test_without_lists_the_internet_is_allowed_and_nothing_else() -> None:
    open_policy = policy(is_open=True)
    assert open_policy.allows(ipaddress.ip_address("1.1.1.1"))
    assert not open_policy.allows(ipaddress.ip_address("192.168.0.1"))


@pytest.mark.parametrize(
    ("domain", "name", "meant"),
    [
        ("a.test", "a.test", True), ("a.test", "b.a.test", False), ("*.a.test", "b.a.test", True),
        ("*.a.test", "c.b.a.test", True), ("*.a.test", "a.test", False),
        ("*.a.test", "ba.test", False),
    ],
)  # fmt: skip
def test_domains_mean_names(domain: str, name: str, meant: bool) -> None:
    """Behaviour 124."""
    assert matches(domain, name) is meant


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "a..b",
        "-a.test",
        "a b",
        "a/b",
        "*.a",
        "1.2.3.4",
        "a" * 64,
        "ä.test",
        "a\0b",
        "[::1]",
    ],
)
def test_what_is_no_name_is_none(name: str) -> None:
    assert plain_name(name) is None


def test_domains_are_written_in_one_way() -> None:
    assert checked_domain("*.Example.COM.") == "*.example.com"
    with pytest.raises(ValueError, match="no domain"):
        checked_domain("*.*.example.com")


@pytest.mark.parametrize(
    "headers",
    [{}, {"Host": "a"}, {"Content-Length": "1"}, {"a b": "c"}, {"a": "b\r\nc: d"}, {"a": "é"},
     {"Transfer-Encoding": "chunked"}, {f"h{n}": "v" for n in range(17)}, {"a": "x" * 16385}],
)  # fmt: skip
def test_headers_that_frame_a_request_cannot_be_replaced(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"header|value"):
        checked_headers(headers)


def test_a_policy_shows_no_secret() -> None:
    one = Replacement(domain="a.test", headers={"x": "hidden"}, key="hidden")
    assert "hidden" not in repr(policy(replacements=(one,)))


def test_a_policy_is_the_same_behind_the_socket() -> None:
    one = Replacement(domain="a.test", headers={"x": "y"}, chain="c", key="k")
    made = policy("10.0.0.0/8", "::/0", domains=("a.test",), replacements=(one,))
    assert Policy.from_fields(made.as_fields()) == made
