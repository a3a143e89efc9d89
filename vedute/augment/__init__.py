"""Augmentations of batches, on the device: ``Batch -> Batch``, drawn for each image by itself.

A datamodule takes any :class:`Augmentation`; a :class:`NumberedAugmentation` can also make numbered
copies, with which a training set is extended.
"""

from vedute.augment.base import Augmentation, NumberedAugmentation, extend
from vedute.augment.colour import CutOut, Grayscale
from vedute.augment.geometry import HorizontalFlip, Shift
from vedute.augment.kornia import Kornia
from vedute.augment.rotation import Rotate90, VerticalFlip

__all__ = [
    "Augmentation",
    "NumberedAugmentation",
    "extend",
    "HorizontalFlip",
    "VerticalFlip",
    "Rotate90",
    "Shift",
    "Grayscale",
    "CutOut",
    "Kornia",
]
