"""Packages of Python in images: installed by uv, with one cache for all images of a daemon.

A package lies on disk once: what images have of it are hard links into the cache.
"""
