"""Finished data sets in the forms that other programs read: EG3D, nerfstudio, COLMAP, Hugging Face."""
