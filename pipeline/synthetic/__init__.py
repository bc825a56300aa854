"""Synthetic heads: people made from free assets, rendered from every side with exact labels."""
