"""Sweeps: many trainings of one configuration, each with other values, to find the best.

Here: the space of values, the study and where it is kept, the loop that starts trials, and the report.
Not here: the command line and what runs inside a trial (``vedute.cli.sweep``, ``vedute.cli.sweep_trial``).
Nothing here imports torch.
"""
