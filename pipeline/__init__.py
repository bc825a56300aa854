"""Photographs and meshes into shards: stages, recipes, and the build that runs them."""
