"""Contents by their hash, kept for as long as something durable names them."""
