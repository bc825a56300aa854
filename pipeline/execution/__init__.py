"""One file's way through a recipe in one process, with its cache."""
