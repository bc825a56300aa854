"""Heads as surfaces and splats: from a density to a textured mesh, and the files that other programs open."""
