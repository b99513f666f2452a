"""Sandboxes that user code in containers makes: of its own app, with no more than it has itself."""

from __future__ import annotations

import volant
from tests.behaviours.apps import sandboxing


def test_a_function_runs_code_in_sandboxes_of_its_own_app() -> None:
    with sandboxing.app.run():
        assert sandboxing.compute.remote("print(6 * 7)") == "42\n"


def test_a_function_sees_no_sandbox_of_another_app() -> None:
    other = volant.App("other")
    with other.run(), sandboxing.app.run():
        sandbox = volant.Sandbox.create(app=other)
        assert sandboxing.look_at.remote(sandbox.object_id) == "NotFoundError"


def test_what_a_function_makes_has_no_network_that_it_has_not() -> None:
    with sandboxing.app.run():
        devices = sandboxing.network_of_its_sandbox.remote().splitlines()[2:]
        assert [line.partition(":")[0].strip() for line in devices] == ["lo"]
