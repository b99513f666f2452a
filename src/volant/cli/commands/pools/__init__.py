"""Commands about single functions and servers: what they are, printed and ran."""
