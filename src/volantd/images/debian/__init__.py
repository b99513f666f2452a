"""Debian in images: bootstrapped from a mirror, and packages that are installed into layers.

    apt of this machine --(verified archives)--> extracted --(a step: dpkg)--> layer
                               apt of the image --(a step: apt-get)--> further layers

Programs of this machine fetch, verify and extract. What packages bring runs in steps only.
"""
