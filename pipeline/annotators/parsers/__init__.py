"""From a crop to a map of the 19 classes."""
