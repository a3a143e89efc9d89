"""Training on clusters: SLURM jobs, how they are written, and how they end and go on by themselves.

Nothing here builds models or data; the verbs are in ``vedute.cli``.
"""
