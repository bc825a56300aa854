"""What labels a picture: face meshes, mattes and class maps, each back end behind one small class."""
