"""Third-party models and their weights: registry, downloads, digests and the modules that wrap each package."""
