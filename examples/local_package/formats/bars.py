"""A bar for each row."""


def show(rows: list[tuple[str, int]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:>{width}} {'#' * number}" for name, number in rows)
