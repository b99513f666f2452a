"""What user code says of images: the chain of steps, its checks, and the local files it reads.

    image.py  = bases + installing.py + commands.py + adding.py    the methods, all on `Image`
    chain.py    steps in order, and what is attached               immutable
    local.py    reads files when an app runs                       digest -> content to send

Methods check and describe. Nothing here builds, asks the daemon, or reads a file's content before
an app runs, except to refuse early what could not be built.
"""
