"""What the store of images is made of: books, names, layers as files, and what is evicted.

`volantd.images.store` puts them together with the layers on disk; `tree` looks at these.
"""
