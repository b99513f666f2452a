"""Packages of conda in images, installed by micromamba, one program that needs nothing else."""
