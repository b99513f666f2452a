"""Who takes turns: Volant and its peers, each in a process of its own."""
