"""Heads, meshes and data sets in a browser."""
