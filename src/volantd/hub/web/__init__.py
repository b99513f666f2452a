"""Functions that answer to the web, as the hub knows them."""
