"""Tests on a real SLURM, and on several hosts that this machine plays."""
