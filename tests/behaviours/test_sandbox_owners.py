"""Sandboxes that user code in containers makes: its own, with no more than it has itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import volant
from tests.behaviours.apps import sandboxing
from tests.behaviours.image_builds import home_of_images, registry_with_base
from volant.errors import NotFoundError, PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.tmpdir import TempPathFactory


@pytest.fixture(scope="module")
def base(tmp_path_factory: TempPathFactory) -> Iterator[str]:
    """A reference to a base, with a home of its own for what is built on it."""
    with registry_with_base() as registry, home_of_images(tmp_path_factory, "owners"):
        yield f"{registry.host}/python:base"


def test_a_function_runs_code_in_sandboxes_of_its_own_app() -> None:
    """Behaviour 135."""
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


def test_a_function_fills_an_app_that_it_looks_up_and_sees_its_own_there() -> None:
    """Behaviour 135: the app is made by the function, or was before, for sandboxes alone."""
    kept = volant.App.lookup("sandboxes-of-many", create_if_missing=True)
    with sandboxing.app.run():
        others = volant.Sandbox.create(app=kept)
        for name in ("sandboxes-of-a-function", "sandboxes-of-many"):
            made, printed = sandboxing.fill.remote(name)
            assert printed == "here\n"
            assert volant.Sandbox.from_id(made).wait() == 0
        assert sandboxing.look_at.remote(others.object_id) == "NotFoundError"
        others.terminate()


def test_a_function_makes_no_sandbox_in_an_app_of_functions() -> None:
    other = volant.App("other")
    other.function(serialized=True, name="f")(lambda: None)
    other.deploy(name="of-functions")
    with sandboxing.app.run(), pytest.raises(NotFoundError, match="does not run"):
        sandboxing.fill.remote("of-functions")


def test_a_function_has_images_built_for_its_sandboxes(base: str) -> None:
    with sandboxing.app.run():
        assert {"built", "written"} <= set(sandboxing.build_and_keep.remote(base))


def test_a_function_without_a_network_has_no_image_built(base: str) -> None:
    with sandboxing.app.run(), pytest.raises(PermissionDeniedError, match="without a network"):
        sandboxing.build_without_network.remote(base)


def test_a_function_gives_a_build_no_secret_that_it_has_not(base: str) -> None:
    volant.Secret.objects.create("of-somebody", {"KEY": "value"}, allow_existing=True)
    with sandboxing.app.run(), pytest.raises(PermissionDeniedError, match="`of-somebody`"):
        sandboxing.build_with_secret.remote(base, "of-somebody")
