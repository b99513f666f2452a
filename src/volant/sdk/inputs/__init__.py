"""How the containers of a function take their inputs: several at once."""
