"""How a container runs inputs in other ways than one by one: side by side, or taken together."""
