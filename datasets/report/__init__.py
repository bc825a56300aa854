"""The report of a data set: HTML page, sheets, overlays and charts."""
