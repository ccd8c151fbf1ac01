"""Probabilistic maps of dark matter by neural score matching."""
