"""What is done to a whole pool: a new configuration, or new containers for all of its old ones."""
