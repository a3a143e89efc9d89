"""Vedute: conditional image generators on small and medium labelled image sets.

This package holds what the approaches (``lightning_modules``) and the data sets
(``datamodules``) share. It never imports either of them; only ``vedute.cli`` does.
Importing ``vedute`` itself is instant: no torch.
"""

__version__ = "0.1.0"
