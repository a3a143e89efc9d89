"""Sampling: seeds, noise, strategies, and flows with their solvers and guidance."""
