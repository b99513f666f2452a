"""How a container finds the function that it runs."""

from __future__ import annotations

import pickle

import pytest

from volant.errors import InvalidError
from volant.runner import loading
from volant.version import SERIES

SERIALIZED = pickle.dumps(len)


def test_a_serialized_function_is_unpickled() -> None:
    described = {"name": "f", "serialized": SERIALIZED, "series": SERIES}
    assert loading.resolve(described)([1, 2]) == 2


def test_one_that_another_python_has_serialized_is_refused() -> None:
    """Its byte code would do something else here, or nothing, and not say so."""
    described = {"name": "f", "serialized": SERIALIZED, "series": "3.7"}
    with pytest.raises(InvalidError, match=rf"by Python 3\.7, and its image has {SERIES}"):
        loading.resolve(described)
