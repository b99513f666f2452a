"""Secrets that are stored: given to containers alone, as they are when one starts."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

import volant
import volant.errors
from tests.behaviours.programs import APPS, at_home
from tests.behaviours.test_sealed import files_with, kill_daemon
from tests.support import run_volant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

#: Put together, so that they are not in the sources that containers get.
CANARY = "-".join(("canary", "472"))
TOKEN, FIRST, KEPT = f"{CANARY}1-token", f"{CANARY}2-first", f"{CANARY}3"


@pytest.fixture(scope="module")
def begun() -> float:
    """A moment before there was anything of these tests."""
    return time.time() - 1


@pytest.fixture(scope="module")
def secretive(volant_home: Path, begun: float) -> Iterator[ModuleType]:
    """The app, which runs; its stored secret is there."""
    assert begun
    os.environ["TOKEN"] = TOKEN
    try:
        from tests.behaviours.apps import secretive
    finally:
        del os.environ["TOKEN"]
    volant.Secret.objects.create("stored-one", {"FIRST": FIRST, "SECOND": "2", "THIRD": "3"})
    with secretive.app.run():
        yield secretive
    volant.Secret.objects.delete("stored-one")


def test_functions_see_it_as_variables_and_later_ones_win(secretive: ModuleType) -> None:
    """Behaviour 108."""
    assert secretive.stored.remote() == {
        "FIRST": FIRST, "SECOND": "behind it", "THIRD": "3", "EARLIER": "before it",
    }  # fmt: skip
    assert secretive.imported.remote() == {"FIRST": FIRST, "TOKEN": TOKEN}


def test_what_is_not_there_is_told_when_it_is_used(secretive: ModuleType) -> None:
    """Behaviours 88 and 108."""
    with pytest.raises(volant.errors.NotFoundError, match="there is no secret 'not-there'"):
        secretive.without.remote()
    with pytest.raises(volant.errors.NotFoundError, match="'stored-one' has no LACKING") as caught:
        secretive.lacking.remote()
    assert "FIRST, SECOND, THIRD" in str(caught.value.hint)
    assert "canary" not in f"{caught.value} {caught.value.hint}"


def test_a_handle_and_a_sandbox_use_it_as_well(secretive: ModuleType) -> None:
    """Behaviours 88 and 108: a sandbox is refused where it is made, not where it would start."""
    complete = volant.Secret.from_name("stored-one", required_keys=["FIRST", "SECOND"])
    assert complete.hydrate().object_id
    lacking = volant.Secret.from_name("stored-one", required_keys=["FIRST", "LACKING"])
    for use in (lacking.hydrate, lacking.info, lambda: _sandbox_with(lacking)):
        with pytest.raises(volant.errors.NotFoundError, match="'stored-one' has no LACKING"):
            use()
    with pytest.raises(volant.errors.NotFoundError, match="there is no secret 'not-there'"):
        _sandbox_with(volant.Secret.from_name("not-there"))


def _sandbox_with(secret: volant.Secret) -> None:
    volant.Sandbox.create(
        "true", app=volant.App.lookup("s", create_if_missing=True), secrets=[secret]
    )


def test_secrets_are_made_once_listed_and_deleted(volant_home: Path) -> None:
    """Behaviour 99."""
    objects = volant.Secret.objects
    objects.create("once", {"A": "1", "NONE": None})
    with pytest.raises(volant.errors.AlreadyExistsError):
        objects.create("once", {"A": "2"})
    objects.create("once", {"A": "2"}, allow_existing=True)
    assert [one.name for one in objects.list(max_objects=1)] == ["once"]
    info = volant.Secret.from_name("once").info()
    assert info.name == "once"
    assert info.created_by
    objects.delete("once")
    with pytest.raises(volant.errors.NotFoundError):
        objects.delete("once")
    objects.delete("once", allow_missing=True)
    with pytest.raises(volant.errors.NotFoundError):
        volant.Secret.from_name("once").update({"A": "1"})


def test_a_change_is_seen_by_containers_that_start_from_then_on(secretive: ModuleType) -> None:
    """Behaviour 108: an update merges."""
    before = secretive.stored.with_options(timeout=51)
    assert before.remote()["THIRD"] == "3"
    volant.Secret.from_name("stored-one").update({"THIRD": "three", "FOURTH": "4"})
    assert before.remote()["THIRD"] == "3"  # its container runs
    assert secretive.stored.with_options(timeout=52).remote() == {
        "FIRST": FIRST, "SECOND": "behind it", "THIRD": "three", "EARLIER": "before it",
    }  # fmt: skip
    volant.Secret.from_name("stored-one").update({"THIRD": "3"})


def test_a_variant_has_secrets_behind_those_of_its_function(secretive: ModuleType) -> None:
    volant.Secret.objects.create("for-variant", {"FIRST": "of the variant"})
    of_variant = volant.Secret.from_name("for-variant")
    assert secretive.stored.with_options(secrets=[of_variant]).remote() == {
        "FIRST": "of the variant", "SECOND": "behind it", "THIRD": "3", "EARLIER": "before it",
    }  # fmt: skip
    last = volant.Secret.from_dict({"FIRST": "last"})
    twice = secretive.stored.with_options(secrets=[of_variant]).with_options(secrets=[last])
    assert twice.remote()["FIRST"] == "last"
    volant.Secret.objects.delete("for-variant")


def test_a_container_gets_no_secret_that_its_function_was_not_given(
    secretive: ModuleType, volant_home: Path
) -> None:
    volant.Secret.objects.create("kept", {"WORD": KEPT})
    run_volant("deploy", str(APPS / "keeping_secret.py"), home=volant_home)
    told = secretive.hostile.remote("stored-one")
    assert "canary" not in " ".join(told)
    assert set(told[:7] + told[8:]) <= {"PermissionDeniedError", "InvalidError"}, told
    assert told[7] == "PermissionDeniedError"
    assert secretive.stored.with_options(timeout=53).remote()["FIRST"] == FIRST
    run_volant("app", "stop", "keeping-secret", home=volant_home)
    volant.Secret.objects.delete("kept")


def test_values_are_not_in_what_is_printed_or_kept(
    secretive: ModuleType, volant_home: Path, begun: float
) -> None:
    secretive.show.remote()
    logs = run_volant("app", "logs", secretive.app.app_id, home=volant_home)
    assert "token is ***, first is ***\nin parts: ***\n" in logs.stdout
    for directory in os.listdir("/proc"):
        if directory.isdigit():
            try:
                with open(f"/proc/{directory}/cmdline", "rb") as file:
                    assert CANARY.encode() not in file.read()
            except (FileNotFoundError, ProcessLookupError):
                pass
    assert files_with(volant_home, CANARY.encode(), begun) == []


def test_the_command_stores_what_it_is_given_and_shows_none_of_it(volant_home: Path) -> None:
    def run(*words: str, stdin: str = "") -> str:
        done = run_volant("secret", *words, home=volant_home, stdin=stdin)
        assert done.returncode == 0, done.stderr
        assert "hush" not in done.stdout + done.stderr
        return done.stdout

    said = run("create", "cli", "A=hush-1", "B=-", stdin="hush-2\n")
    assert said == "stored secret cli of A, B\n"
    again = run_volant("secret", "create", "cli", "A=1", home=volant_home)
    assert again.returncode != 0
    assert "--force" in again.stderr
    run("create", "cli", "--from-json", "-", "--force", stdin='{"C": "hush-3"}')
    [row] = [one for one in json.loads(run("list", "--json")) if one["name"] == "cli"]
    assert row["environment"] == "main"
    app = volant.App("seen")

    @app.function(secrets=[volant.Secret.from_name("cli")], serialized=True)
    def look() -> list[str | None]:
        return [os.environ.get(name) for name in "ABC"]

    with app.run():
        assert look.remote() == [None, None, "hush-3"]
    run("delete", "cli", "--yes")
    for words in (["create", "x"], ["create", "x", "A"], ["create", "x", "--from-json", "/none"]):
        assert run_volant("secret", *words, home=volant_home).returncode == 2


def test_stored_secrets_are_there_after_a_kill_and_with_another_key(own_home: Path) -> None:
    run_volant("server", "start", home=own_home)
    with at_home(own_home):
        volant.Secret.objects.create("kept", {"WORD": KEPT})
    deployed = run_volant("deploy", str(APPS / "keeping_secret.py"), home=own_home)
    assert deployed.returncode == 0, deployed.stderr
    for _ in range(2):
        with at_home(own_home):
            assert volant.Function.from_name("keeping-secret", "word").remote() == KEPT
        assert files_with(own_home, KEPT.encode()) == []
        assert run_volant("secret", "rotate-key", home=own_home).returncode == 0
        kill_daemon(own_home)
    with at_home(own_home):
        volant.Secret.from_name("kept").update({"WORD": "changed"})
        word = volant.Function.from_name("keeping-secret", "word")
        assert word.remote() == "changed"  # none ran
        volant.Secret.from_name("kept").update({"WORD": "once more"})
        assert word.remote() == "changed"
    assert run_volant("app", "rollover", "keeping-secret", home=own_home).returncode == 0
    with at_home(own_home):
        assert volant.Function.from_name("keeping-secret", "word").remote() == "once more"
        volant.Secret.objects.delete("kept")
    failed = run_volant("app", "rollover", "keeping-secret", home=own_home)
    assert "there is no secret 'kept'" in failed.stderr
