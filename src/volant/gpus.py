"""The names of GPUs: what functions may ask for, and which devices of a machine that means.

Imported only where a function asks for a GPU, or a machine has one. Decides nothing about who gets
what: it gives for each wish the models that will do, the best first.
"""

from __future__ import annotations

from volant.errors import InvalidError

#: A wish for whatever there is.
ANY = "any"
#: Devices that one container may have.
COUNT_MAX = 8
#: Alternatives of one function.
WISHES_MAX = 16
#: Name of a wish -> models that fulfil it, the best first. A machine's devices have models.
MODELS: dict[str, tuple[str, ...]] = {
    "T4": ("T4",), "V100": ("V100",), "L4": ("L4",), "L40S": ("L40S",),
    "A10": ("A10", "A10G"), "A10G": ("A10G", "A10"),
    "A100": ("A100-40GB", "A100-80GB"), "A100-40GB": ("A100-40GB", "A100-80GB"),
    "A100-80GB": ("A100-80GB",),
    "H100": ("H100", "H200"), "H100!": ("H100",), "H200": ("H200",),
    "B200": ("B200",), "B200+": ("B200", "B300"), "B300": ("B300",),
    "RTX-PRO-6000": ("RTX-PRO-6000",), "RTX-A6000": ("RTX-A6000",),
    "RTX-3090": ("RTX-3090",), "RTX-4090": ("RTX-4090",), "RTX-5090": ("RTX-5090",),
}  # fmt: skip
#: Words of a device's name that say nothing about its model.
_NOISE = frozenset({"NVIDIA", "TESLA", "GEFORCE", "QUADRO"})
#: What an A100 with more memory than this is.
_A100_SMALL_BYTES = 60 << 30
_HINT = 'for example gpu="H100", gpu="A100-80GB:2", gpu="any" or gpu=["H100", "L4:2"]'


def parse(value: object) -> list[list[object]]:
    """What `gpu=` asks for, as a control message carries it: [name, count] each, the best first.

    Args:
        value: a name, a name with `:count`, a list of those, or None.

    Raises:
        InvalidError: for what no GPU is called.
    """
    if value is None:
        return []
    if isinstance(value, str):
        return [_wish(value)]
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
        raise InvalidError(f"gpu must be a name or a list of names, got {value!r}", hint=_HINT)
    if len(value) > WISHES_MAX:
        raise InvalidError(f"gpu has {len(value)} alternatives, at most {WISHES_MAX}")
    return [_wish(one) for one in value]


def _wish(text: str) -> list[object]:
    name, colon, number = text.partition(":")
    count = 1
    if colon:
        if not (number.isascii() and number.isdigit() and 1 <= int(number[:3]) <= COUNT_MAX):
            raise InvalidError(
                f"gpu={text!r}: the number of GPUs must be from 1 to {COUNT_MAX}, got {number!r}",
                hint=_HINT,
            )
        count = int(number[:3])
    return [_named(name, text), count]


def _named(name: str, text: str) -> str:
    if name.strip().lower() == ANY:
        return ANY
    known = name.strip().upper()
    if known in MODELS:
        return known
    import difflib

    near = difflib.get_close_matches(known, MODELS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(MODELS)} and any"
    raise InvalidError(f"gpu={text!r}: no GPU is called {name!r}", hint=hint)


def in_words(wishes: list[list[object]]) -> str:
    """Wishes as people write them, such as `H100:2 or any`."""
    return " or ".join(str(name) if count == 1 else f"{name}:{count}" for name, count in wishes)


def model_of(name: str, memory_bytes: int) -> str:
    """The model of a device by the name that its driver gives it, such as `NVIDIA A100-SXM4-80GB`.

    A device that no wish names has its own name in capital letters, and is given to who takes any.
    """
    words = [word for word in name.upper().replace("-", " ").split() if word not in _NOISE]
    if words[:1] == ["A100"]:
        return "A100-40GB" if memory_bytes <= _A100_SMALL_BYTES else "A100-80GB"
    for model in sorted(MODELS, key=len, reverse=True):
        parts = model.split("-")
        if words[: len(parts)] == parts:
            return model
    return "-".join(words) or "UNKNOWN"
