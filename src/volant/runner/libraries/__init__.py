"""What the libraries of user code are told about the container that they find themselves in."""
