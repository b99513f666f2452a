"""Generic classes without the 10 ms that importing `typing` costs at run time.

Type checkers see the real `typing` names; at run time `Generic[P, R]` is a class that can be
subscripted and nothing more.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Generic as Generic, ParamSpec, TypeVar

    from volant.sdk.objects.named import Named

    N = TypeVar("N", bound=Named)
    P = ParamSpec("P")
    R = TypeVar("R")
    R_co = TypeVar("R_co", covariant=True)
    Raw = TypeVar("Raw")
    S = TypeVar("S")
    T = TypeVar("T")
    Y = TypeVar("Y")
else:

    class Generic:
        """Subscriptable stand-in for `typing.Generic`."""

        def __class_getitem__(cls, _: object) -> type:
            return cls

    N = P = R = R_co = Raw = S = T = Y = None
