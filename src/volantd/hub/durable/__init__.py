"""Durable calls: written before they are acknowledged, and taken up again by the next daemon."""
