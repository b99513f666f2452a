"""The user's terminal and containers: commands run in them, and user code that talks to a person.

`local` copies bytes, `commands` and `desk` are the client's side, `inside` is the container's.
"""
