"""Skin and eyes of a face: what colours every skin unevenly, and the cornea over irises."""
