"""Photographs as people take them: several heads, any camera and ground, and what cameras do, with exact labels."""
