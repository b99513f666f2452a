"""A grid, drawn by a package that only the image has."""

from tabulate import tabulate


def show(rows: list[tuple[str, int]]) -> str:
    return tabulate(rows, headers=["planet", "moons"], tablefmt="simple")
