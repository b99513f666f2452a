"""A plot as a small SVG, both axes logarithmic, made from nothing but numbers."""

from __future__ import annotations

from math import ceil, floor, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 60, 150, 20, 45
COLOURS = ("#1f77b4", "#7fb8e0", "#d62728", "#f0a0a0")


def draw(
    x_name: str, y_name: str, xs: Sequence[float], lines: Mapping[str, Sequence[float]]
) -> str:
    """The plot of one or more lines over the same places; all numbers are above 0."""
    values = [value for line in lines.values() for value in line]
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    left, right = log10(min(xs)), log10(max(xs))

    def place(x: float, y: float) -> tuple[float, float]:
        across = (log10(x) - left) / (right - left) * (WIDTH - LEFT - RIGHT)
        up = (log10(y) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return round(LEFT + across, 1), round(HEIGHT - BOTTOM - up, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="{TOP - 6}">{y_name}</text>',
        f'<text x="{WIDTH - RIGHT - 50}" y="{HEIGHT - 8}">{x_name}</text>',
    ]
    for power in range(low, high + 1):
        _, y = place(xs[0], 10.0**power)
        parts.append(f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{10**power:,g}</text>')
    for x in xs:
        across, _ = place(x, 10.0**low)
        y = HEIGHT - BOTTOM + 16
        parts.append(f'<text x="{across}" y="{y}" text-anchor="middle">{x:,g}</text>')
    for colour, (name, line) in zip(COLOURS, lines.items(), strict=False):
        points = [place(x, y) for x, y in zip(xs, line, strict=True)]
        path = " ".join(f"{x},{y}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x, y = points[-1]
        parts.append(f'<text x="{x + 8}" y="{y + 4}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
