"""How often, and how long apart, a failing input is tried again."""

from __future__ import annotations

from volant.errors import InvalidError


class Retries:
    """A retry policy for `@app.function(retries=...)`.

    Args:
        max_retries: attempts after the first, 0 to 10.
        backoff_coefficient: factor between one delay and the next, 1.0 to 10.0.
        initial_delay: seconds before the first retry, 0 to 60.
        max_delay: seconds that no delay exceeds, 1 to 60.
        memory_multiplier: what the limit of memory is multiplied by for later containers when one
            ran out of it, 1.0 to 10.0; 1.0 leaves it as it is.

    Raises:
        InvalidError: for a value out of its range.
    """

    __slots__ = (
        "backoff_coefficient",
        "initial_delay",
        "max_delay",
        "max_retries",
        "memory_multiplier",
    )

    def __init__(
        self,
        *,
        max_retries: int,
        backoff_coefficient: float = 2.0,
        initial_delay: float = 1.0,
        max_delay: float = 60.0,
        memory_multiplier: float = 1.0,
    ) -> None:
        _within("max_retries", max_retries, 0, 10)
        _within("backoff_coefficient", backoff_coefficient, 1.0, 10.0)
        _within("initial_delay", initial_delay, 0.0, 60.0)
        _within("max_delay", max_delay, 1.0, 60.0)
        _within("memory_multiplier", memory_multiplier, 1.0, 10.0)
        self.max_retries = max_retries
        self.backoff_coefficient = backoff_coefficient
        self.initial_delay = initial_delay
        self.max_delay = max_delay
        self.memory_multiplier = memory_multiplier

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"Retries({fields})"

    def to_wire(self) -> dict[str, object]:
        """The policy as a control message carries it."""
        return {
            "max_retries": self.max_retries,
            "backoff_coefficient": float(self.backoff_coefficient),
            "initial_delay_s": float(self.initial_delay),
            "max_delay_s": float(self.max_delay),
            "memory_multiplier": float(self.memory_multiplier),
        }


def _within(name: str, value: float, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise InvalidError(f"Retries: {name} must be from {low} to {high}, got {value!r}")


def as_retries(value: int | Retries | None) -> Retries:
    """The policy that `retries=` means: a number is that many retries, one second apart.

    Raises:
        InvalidError: for anything else.
    """
    if value is None:
        return Retries(max_retries=0)
    if isinstance(value, Retries):
        return value
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidError(
            f"retries must be a number or a volant.Retries, got {value!r}",
            hint="for example retries=3",
        )
    return Retries(max_retries=value, backoff_coefficient=1.0, initial_delay=1.0)
