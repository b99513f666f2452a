"""Networks of sandboxes whose only way out is a listener of the daemon's."""
