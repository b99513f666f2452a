"""The names of GPUs: how wishes are written, and which devices they mean."""

from __future__ import annotations

import pytest

from volant import gpus
from volant.errors import InvalidError


@pytest.mark.parametrize(
    ("value", "wishes"),
    [
        (None, []),
        ("H100", [["H100", 1]]),
        ("h100:2", [["H100", 2]]),
        ("a100-80gb:8", [["A100-80GB", 8]]),
        ("H100!", [["H100!", 1]]),
        ("b200+:4", [["B200+", 4]]),
        ("Any", [["any", 1]]),
        ("any:3", [["any", 3]]),
        (["h100", "A100-40GB:2"], [["H100", 1], ["A100-40GB", 2]]),
        (("T4",), [["T4", 1]]),
        ([], []),
        ("rtx-pro-6000", [["RTX-PRO-6000", 1]]),
    ],
)
def test_wishes_are_read_in_their_order(value, wishes):
    """Behaviour 138: "H100:4", "any", lists, lower case."""
    assert gpus.parse(value) == wishes


@pytest.mark.parametrize("number", ["0", "9", "", "x", "-1", "1.5", "+2", "³", "8000"])
def test_a_number_of_gpus_is_from_one_to_eight(number):
    with pytest.raises(InvalidError, match=r"gpu='H100:.*' *: the number of GPUs must be from 1"):
        gpus.parse(f"H100:{number}")


@pytest.mark.parametrize("value", [1, True, 1.5, b"H100", {"H100": 1}, ["H100", 2], [["H100"]]])
def test_what_is_no_name_is_refused_with_an_example(value):
    with pytest.raises(InvalidError, match="gpu must be a name or a list of names") as refused:
        gpus.parse(value)
    assert 'gpu="H100"' in refused.value.hint


@pytest.mark.parametrize(
    ("value", "hint"),
    [("H1000", "did you mean 'H100'?"), ("A100-80", "did you mean 'A100-80GB'?"),
     ("", "there are T4"), ("voodoo", "there are T4")],
)  # fmt: skip
def test_a_name_that_no_gpu_has_is_told_with_a_near_one(value, hint):
    with pytest.raises(InvalidError, match="no GPU is called") as refused:
        gpus.parse(value)
    assert hint in refused.value.hint


def test_too_many_alternatives_are_refused():
    with pytest.raises(InvalidError, match="17 alternatives, at most 16"):
        gpus.parse(["T4"] * 17)


@pytest.mark.parametrize(
    ("name", "gib", "model"),
    [
        ("NVIDIA H100 80GB HBM3", 80, "H100"),
        ("NVIDIA H100 NVL", 94, "H100"),
        ("NVIDIA H200", 141, "H200"),
        ("NVIDIA A100-SXM4-40GB", 40, "A100-40GB"),
        ("NVIDIA A100 80GB PCIe", 80, "A100-80GB"),
        ("Tesla T4", 16, "T4"),
        ("Tesla V100-SXM2-16GB", 16, "V100"),
        ("NVIDIA L40S", 48, "L40S"),
        ("NVIDIA L4", 24, "L4"),
        ("NVIDIA A10G", 24, "A10G"),
        ("NVIDIA A10", 24, "A10"),
        ("NVIDIA GeForce RTX 4090", 24, "RTX-4090"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 96, "RTX-PRO-6000"),
        ("NVIDIA RTX A6000", 48, "RTX-A6000"),
        ("NVIDIA B200", 180, "B200"),
        ("NVIDIA L40", 48, "L40"),
        ("NVIDIA GH200 480GB", 96, "GH200-480GB"),
        ("", 0, "UNKNOWN"),
    ],
)
def test_a_device_has_the_model_that_its_driver_says(name, gib, model):
    assert gpus.model_of(name, gib << 30) == model


def test_each_wish_is_fulfilled_by_models_of_devices():
    for name, models in gpus.MODELS.items():
        assert models, name
        assert all(not model.endswith(("!", "+")) for model in models)


def test_wishes_are_put_into_words():
    assert gpus.in_words([["H100", 2], ["any", 1]]) == "H100:2 or any"
