"""Data sets that are built here and kept in an object store."""
