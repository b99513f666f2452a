"""Environments: apart from each other, names mean different things in each."""
