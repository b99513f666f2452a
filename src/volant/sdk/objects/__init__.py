"""Objects that functions are given: secrets."""
