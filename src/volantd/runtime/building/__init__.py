"""Build steps: one command on the layers of an image, what it writes kept as the next layer.

`view` runs in forks of the launcher, `step` in the agent.
"""
