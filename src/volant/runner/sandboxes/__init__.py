"""The inside of sandboxes: what keeps one alive while nothing runs in it."""
