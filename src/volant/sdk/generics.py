"""Generic classes without the 10 ms that importing `typing` costs at run time.

Type checkers see the real `typing` names; at run time `Generic[P, R]` is a class that can be
subscripted and nothing more.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Generic as Generic, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")
    R_co = TypeVar("R_co", covariant=True)
    Raw = TypeVar("Raw")
    T = TypeVar("T")
    Y = TypeVar("Y")
else:

    class Generic:
        """Subscriptable stand-in for `typing.Generic`."""

        def __class_getitem__(cls, _: object) -> type:
            return cls

    P = R = R_co = Raw = T = Y = None
