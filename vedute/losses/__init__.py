"""Losses: pure functions, one value per sample."""
