"""pix2pix (systems S5): a mask in, an image out."""

from __future__ import annotations

from lightning_modules.translation import TranslationModule


class Pix2Pix(TranslationModule):
    """A translator whose discriminator sees the condition beside the image, patch by patch.

    Source: Isola et al. 2017, https://arxiv.org/abs/1611.07004.
    """
