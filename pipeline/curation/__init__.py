"""Decisions about which heads a data set should hold: quality measures, duplicates, splits, balance."""
