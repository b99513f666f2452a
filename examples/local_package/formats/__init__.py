"""Ways to show a table: each module has `show(rows)`, and is found by its name."""
