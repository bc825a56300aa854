"""Planes in space: the tri-plane, the tri-grid, the spherical tri-planes and the hy-plane behind one contract."""
