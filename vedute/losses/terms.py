"""What losses of images and balances between losses promise; their implementations lie beside this file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor, nn

from vedute.errors import ConfigurationError


class ImageLoss(nn.Module, ABC):
    """How far generated images are from the wanted ones: a term of an objective.

    Called with both images, (N, C, H, W) in [0, 1], it returns (N,) float32, one value per sample,
    also under autocast. Weights that a loss learns are its parameters; a pretrained network that it
    measures with is neither a parameter nor in the state (see :class:`vedute.losses.frozen.Frozen`).
    """

    def __init__(self, weight: float = 1.0) -> None:
        """Keep the weight that the term has in the objective; 0 computes and logs it only.

        Raises:
            ConfigurationError: The weight is negative.
        """
        super().__init__()
        self.weight = at_least_zero(f"The weight of {type(self).__name__}", weight)

    @abstractmethod
    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Return (N,) float32 losses of ``image`` against ``target``, without the weight.

        Args:
            image: (N, C, H, W) in [0, 1]; gradients flow into it.
            target: (N, C, H, W) in [0, 1].
        """

    def check(self, image_size: tuple[int, int], channels: int) -> None:
        """Make sure that the loss works on such images; models call this when they are built.

        Args:
            image_size: Height and width, pixels.
            channels: Channels C of the images.

        Raises:
            ConfigurationError: It does not, or its pretrained weights are absent.
        """
        return


class ImageLosses(nn.ModuleDict):
    """Image losses by the names that a user gave them."""

    def __init__(self, losses: Mapping[str, ImageLoss]) -> None:
        """Keep them.

        Raises:
            ConfigurationError: A name that is none.
        """
        for name in losses:
            # YAML reads a bare number as one
            taken = hasattr(ImageLosses, str(name)) or hasattr(nn.Module(), str(name))
            if taken or not str(name).isidentifier():
                raise ConfigurationError(
                    f"model.losses: '{name}' cannot name a loss: take another word, of letters."
                )
        super().__init__(losses)

    def _each(self) -> Iterator[tuple[str, ImageLoss]]:
        for name, loss in self.items():
            assert isinstance(loss, ImageLoss)
            yield name, loss

    def weights(self, taken: Sequence[str]) -> dict[str, float]:
        """Return the weight of each loss.

        Args:
            taken: Names that the model uses itself.

        Raises:
            ConfigurationError: A loss has one of them.
        """
        for name in self:
            if name in taken:
                raise ConfigurationError(
                    f"model.losses: the model itself uses the name '{name}': choose another."
                )
        return {name: loss.weight for name, loss in self._each()}

    def check(self, image_size: tuple[int, int], channels: int) -> None:
        """Make sure that each works on images of ``image_size`` pixels with ``channels`` channels.

        Raises:
            ConfigurationError: One does not.
        """
        for _, loss in self._each():
            loss.check(image_size, channels)

    def rest(self) -> Tensor | float:
        """Return 0 with a gradient of 0 for every weight that a loss learns.

        Processes that share gradients wait for those of every weight, also of a loss that is off.
        """
        return 0.0 * sum(weight.float().sum() for weight in self.parameters())

    def forward(self, image: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the mean of each loss over images (N, C, H, W) in [0, 1] and their targets."""
        return {name: loss(image, target).mean() for name, loss in self._each()}


class LossBalance(nn.Module, ABC):
    """Multiplies the weights of an objective's terms while training goes on.

    Everything that it remembers lies in buffers and parameters, so a resumed run continues exactly.
    """

    @abstractmethod
    def prepare(self, weights: Mapping[str, float]) -> None:
        """Learn the terms, once, before training and before weights are loaded.

        Args:
            weights: Weight of each term by its name, without schedule and balance; 0: computed only.

        Raises:
            ConfigurationError: The balance names a term that does not exist, or one that it cannot work with.
        """

    @abstractmethod
    def forward(
        self, losses: Mapping[str, Tensor], weights: Mapping[str, float], image: Tensor | None = None
    ) -> tuple[dict[str, Tensor | float], Tensor | float]:
        """Return each term's multiplier in a training step, and what is added to the total.

        Args:
            losses: Scalar mean of each term over the batch.
            weights: Weight of each term before balancing, schedules included.
            image: The generated images (N, C, H, W) that the terms were computed from; None: not known.
        """

    def after_validation(self, losses: Mapping[str, float], weights: Mapping[str, float]) -> None:
        """Take note of the terms' means over a validation, equal on all ranks.

        Args:
            losses: Mean of each term over the validation split.
            weights: Weight of each term, without schedule and balance.
        """
        return


def at_least_zero(what: str, value: float) -> float:
    """Return ``value``.

    Raises:
        ConfigurationError: It is negative or no number; ``what`` names it.
    """
    if not 0 <= value < float("inf"):
        raise ConfigurationError(f"{what} must be a number of at least 0, got {value}.")
    return float(value)
