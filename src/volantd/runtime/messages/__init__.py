"""How messages go between the daemon and those that it started."""
