"""Keys of images, and the settings that steps leave behind."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from volantd.images.keys import Settings, first_forced, image_id, keys_of

WORDS = st.text(max_size=5)
STEPS = st.lists(
    st.one_of(
        st.builds(lambda words: {"kind": "run", "commands": words}, st.lists(WORDS, max_size=3)),
        st.builds(
            lambda env: {"kind": "env", "variables": env},
            st.dictionaries(WORDS, WORDS, max_size=3),
        ),
        st.builds(lambda name: {"kind": "registry", "reference": name}, WORDS),
    ),
    min_size=1,
    max_size=4,
)


@given(STEPS, STEPS)
def test_keys_are_equal_if_and_only_if_the_steps_are(one: list[Any], other: list[Any]) -> None:
    """Issue 3: a property of keys."""
    assert (keys_of(one)[-1] == keys_of(other)[-1]) is (one == other)


@given(STEPS, STEPS)
def test_the_key_of_a_step_is_of_those_before_it(one: list[Any], more: list[Any]) -> None:
    assert keys_of(one + more)[: len(one)] == keys_of(one)


def test_the_order_in_a_step_does_not_matter() -> None:
    one = [{"kind": "env", "variables": {"A": "1", "B": "2"}}]
    other = [{"variables": {"B": "2", "A": "1"}, "kind": "env"}]
    assert keys_of(one) == keys_of(other)


def test_to_build_anew_is_no_other_step() -> None:
    """Behaviour 83: that step and later ones are built again, and are the same ones then."""
    steps: list[dict[str, Any]] = [{"kind": "scratch"}, {"kind": "run", "commands": ["x"]}]
    forced = [steps[0], {**steps[1], "force": True}]
    assert keys_of(steps) == keys_of(forced)
    assert first_forced(steps) == 2
    assert first_forced(forced) == 1


def test_ids_of_images_begin_with_their_prefix() -> None:
    assert image_id(keys_of([{"kind": "scratch"}])[0]).startswith("im-")


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], Settings()),
        (
            [{"kind": "env", "variables": {"A": "1"}}, {"kind": "env", "variables": {"A": "2"}}],
            Settings(env={"A": "2"}),
        ),
        ([{"kind": "shell", "words": ["/bin/bash", "-c"]}], Settings(shell=("/bin/bash", "-c"))),
        ([{"kind": "cmd", "words": ["serve"]}], Settings(cmd=("serve",))),
        ([{"kind": "workdir", "path": "/app"}], Settings(workdir="/app")),
        ([{"kind": "entrypoint", "words": ["/init"]}], Settings(entrypoint=("/init",))),
    ],
)
def test_settings_add_up(steps: list[dict[str, Any]], expected: Settings) -> None:
    settings = Settings()
    for step in steps:
        settings = settings.after(step)
    assert settings == expected
