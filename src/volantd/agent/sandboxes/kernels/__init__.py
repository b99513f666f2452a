"""Kernels of their own that sandboxes run on."""
