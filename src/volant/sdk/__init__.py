"""What user code touches: apps, functions, calls, maps, images, and the sources they ship.

Decorators only describe. Nothing here talks to the hub before an app runs or a handle is used.
Modules on the path of `volant run` import no more than they must: no typing, dataclasses or re.
"""
