"""Heads as 3D Gaussians: where they are (`gaussians`), which pixels they reach (`compose`), and the renderer (`splats`)."""
