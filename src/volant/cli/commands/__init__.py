"""The commands beside `run`: one module a noun, imported on use, built on click."""
