"""Head scans of the user's own: mesh files, their placement, and the source that renders them."""
