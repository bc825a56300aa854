"""Surfaces: from signed distances on tetrahedra to meshes, and from meshes to pictures with gradients."""
