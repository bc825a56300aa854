"""The project's own networks at work: heads of any side found, posed and parsed."""
