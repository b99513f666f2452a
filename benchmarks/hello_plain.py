"""The work of examples/hello.py without Volant: what `volant run` is held against."""

from __future__ import annotations


def square(x: int) -> int:
    print(f"squaring {x}")
    return x * x


def main(x: int = 7) -> None:
    print(f"{x} squared is {square(x)}")


if __name__ == "__main__":
    main()
