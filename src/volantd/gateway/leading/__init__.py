"""Routes that lead to one container, for whoever shows a token of that."""
