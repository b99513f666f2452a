"""Commands about objects that have names: one module for each kind, imported on use."""
