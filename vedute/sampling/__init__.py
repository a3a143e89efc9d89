"""Sampling: seeds, noise, and later ODE solvers and guidance."""
