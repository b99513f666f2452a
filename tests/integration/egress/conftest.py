"""A network of its own for all tests here, and a way out of it for each."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.egress.chamber import Chamber
from tests.integration.egress.outside import NOW_S, Stage
from volantd.egress.authority import Authority
from volantd.egress.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def chamber() -> Iterator[Chamber]:
    """A process in a network whose only way out is an outlet."""
    made = Chamber()
    yield made
    made.close()
    for sock in made.sockets:
        sock.close()


@pytest.fixture(scope="session")
def authority() -> Authority:
    """Whom servers outside, and tests, believe."""
    return Authority("tests", NOW_S)


@pytest.fixture
def make_stage(chamber: Chamber, authority: Authority) -> Iterator[Callable[..., Stage]]:
    """Makes the way out, with a policy of its own."""
    stages: list[Stage] = []

    def make(*domains: str, networks: tuple[str, ...] = (), **fields: Any) -> Stage:
        named = tuple(map(ipaddress.ip_network, networks))
        policy = Policy(domains=domains, networks=named, **fields)
        stages.append(Stage(chamber, policy, authority))
        return stages[-1]

    yield make
    for stage in stages:
        stage.close()


@pytest.fixture
def stage(make_stage: Callable[..., Stage]) -> Stage:
    """One that lets `good.test` be reached, and all below `wild.test`."""
    return make_stage("good.test", "*.wild.test")
