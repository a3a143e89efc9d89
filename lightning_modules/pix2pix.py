"""pix2pix (systems S5): a mask in, an image out."""

from __future__ import annotations

from typing import Any

from lightning_modules.translation import TranslationModule
from vedute.errors import ConfigurationError


class Pix2Pix(TranslationModule):
    """A translator whose discriminator sees the condition beside the image, patch by patch.

    Source: Isola et al. 2017, https://arxiv.org/abs/1611.07004.
    """

    def __init__(self, **options: Any) -> None:
        """Build the networks.

        Args:
            options: See ``TranslationModule``, ``AdversarialModule`` and ``ImageModule``.

        Raises:
            ConfigurationError: The data have no condition images.
        """
        super().__init__(**options)
        if not self.condition_channels:
            raise ConfigurationError(
                f"{type(self).__name__} makes images from masks, but the data have none. Set data.condition "
                "to mask (aerial pairs) or data.mask_column (a table), or choose another model."
            )
