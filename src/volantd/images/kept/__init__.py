"""What the store of images is made of: books, names, caches, layers as files, what is evicted.

`volantd.images.store` puts them together with the layers on disk; `tree` looks at these.
"""
