"""Bodies of requests and responses: where they end, and large ones passed by the kernel."""
