"""Rows as a table for people (text or Markdown) and as JSON for programs. Pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.harness.figures import Row

HEADER = ("what", "ours", "range", "peer", "its median", "ratio", "bar", "verdict")
#: The results in a document stand between these two lines.
MARKS = ("<!-- results: begin -->", "<!-- results: end -->")


def number(value: float) -> str:
    """A number with the digits that mean something: 0.123, 12.3, 1,234."""
    if value == int(value) and abs(value) < 100:
        return str(int(value))
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def cells(row: Row) -> tuple[str, ...]:
    """One row of the table, as HEADER names its columns."""
    budget, figure, unit = row.budget, row.figure, row.budget.unit
    spread = ""
    if len(figure.ours) > 1:
        spread = f"{number(min(figure.ours))} to {number(max(figure.ours))}"
    verdict = {True: "met", False: "MISSED", None: ""}[row.met]
    return (
        budget.what + (f" ({figure.note})" if figure.note else ""),
        f"{number(row.ours)} {unit}",
        spread,
        budget.peer or "",
        "" if row.peer is None else f"{number(row.peer)} {unit}",
        "" if row.ratio is None else f"{number(row.ratio)} x",
        budget.bar_text,
        verdict,
    )


def machine_line(machine: dict[str, Any]) -> str:
    """One sentence about the machine and the run."""
    loads = " ".join(f"{load:.2f}" for load in machine["load_average"])
    return (
        f"{machine['cores']} cores, {machine['memory_gib']:.0f} GiB, Linux {machine['kernel']}, "
        f"Python {machine['python']}, Ray {machine['ray']}, numpy {machine['numpy']}; "
        f"Volant {machine['volant']} on the rung `{machine['rung']}`; "
        f"load average at the start {loads}; {machine['date']}"
        + (" (quick: small counts, for a first look only)" if machine["quick"] else "")
    )


def text_table(rows: Sequence[Row]) -> str:
    """The table in columns, with a line for each figure of more than one group."""
    table = [HEADER, *map(cells, rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEADER))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines)


def markdown_table(rows: Sequence[Row]) -> str:
    """The table in Markdown."""
    lines = ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    for row in rows:
        escaped = [cell.replace("|", "\\|") for cell in cells(row)]
        lines.append("| " + " | ".join(escaped) + " |")
    return "\n".join(lines)


def summary(rows: Sequence[Row], failed: Sequence[str]) -> str:
    """How many bars were met, and which were not."""
    held = [row for row in rows if row.met is not None]
    missed = [row.key for row in held if not row.met]
    text = f"{len(held) - len(missed)} of {len(held)} bars met"
    if missed:
        text += f"; missed: {', '.join(missed)}"
    if failed:
        text += f"; not measured, because they failed: {', '.join(failed)}"
    return text


def as_json(machine: dict[str, Any], rows: Sequence[Row], failed: Sequence[str]) -> dict[str, Any]:
    """Everything of a run, every round included."""
    return {
        "machine": machine,
        "failed": list(failed),
        "figures": {
            row.key: {
                "what": row.budget.what, "unit": row.budget.unit, "ours": row.ours,
                "peer": row.peer, "peer_name": row.budget.peer, "ratio": row.ratio,
                "bar": row.budget.bar, "limit": row.budget.limit if row.budget.bar else None,
                "met": row.met, "note": row.figure.note,
                "ours_rounds": list(row.figure.ours), "peer_rounds": list(row.figure.peer),
            }
            for row in rows
        },
    }  # fmt: skip


def put_between_marks(document: str, content: str) -> str:
    """The document with what stands between MARKS replaced.

    Raises:
        ValueError: unless both marks are there once, in order.
    """
    begin, end = MARKS
    head, found_begin, rest = document.partition(begin)
    _, found_end, tail = rest.partition(end)
    if not found_begin or not found_end or begin in rest or end in tail:
        raise ValueError(f"the document lacks its marks {begin} and {end}")
    return f"{head}{begin}\n{content}\n{end}{tail}"
