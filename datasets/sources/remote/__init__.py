"""Sources of photographs that lie in object stores or behind web addresses."""
