"""Objects that have names: who makes and ends them, and what is asked about each kind of them."""
