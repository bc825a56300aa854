"""A file's bytes to upright sRGB pixels, or a refusal with a named reason."""
