"""The agent: the zygotes and containers of one machine, and what they print.

It turns `start this container` into forks, and wait statuses into words. Namespaces, mounts and
cgroups are `volantd.runtime`; which container is wanted is decided by `volantd.core`.
"""
