"""The machines: what each has and holds, where there is room among them, and who waits for it."""
