"""Fitting the head network to photographs without labels: self-training beside rendered truth in the photographs' look."""
