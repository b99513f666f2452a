"""Pythons in images: found on this machine or brought to it, and moved into a layer of their own.

found ──► an interpreter of the series ──► layer ──► /usr/local of the image
                                             └─ libraries: packages of Debian, or copies
"""
