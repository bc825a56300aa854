"""What annotator networks are shown while they learn: views that are read, lit, cropped, covered and joined to scenes."""
