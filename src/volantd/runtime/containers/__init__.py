"""A container as the agent holds it."""
