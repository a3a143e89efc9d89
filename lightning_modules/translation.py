"""What approaches from image to image share: a network, a pixel loss, a discriminator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_modules.adversarial import AdversarialModule
from vedute.batch import Batch, Condition
from vedute.losses.objective import Objective
from vedute.losses.pixel import mean_absolute_error, mean_squared_error, peak_signal_to_noise_ratio
from vedute.losses.terms import ImageLoss, ImageLosses, LossBalance
from vedute.networks.translation import TranslatorNetwork
from vedute.schedules import Schedule

ADVERSARIAL = "adversarial"
L1 = "l1"
_LOGGED_NAMES = ("loss", "psnr", "weight", "generator_loss", "discriminator_loss", "penalty")


@dataclass
class Translated:
    """A batch on its way through the network.

    Attributes:
        image: (N, C, H, W) in [0, 1], what the network made.
        target: (N, C, H, W) in [0, 1], what it should have made.
        beside: (N, K, H, W), what the discriminator sees beside either; K = 0: nothing.
        vector: (N, D) condition vectors; D = 0: none.
    """

    image: Tensor
    target: Tensor
    beside: Tensor
    vector: Tensor

    @property
    def real(self) -> Tensor:
        """(N, C + K, H, W): what the discriminator sees of the real images."""
        return torch.cat([self.target, self.beside], dim=1)

    @property
    def fake(self) -> Tensor:
        """(N, C + K, H, W): what it sees of the generated ones."""
        return torch.cat([self.image, self.beside], dim=1)


class TranslationModule(AdversarialModule):
    """Makes an image from a condition image; one image of each.

    The generator's loss is a sum of named terms: ``l1`` (the mean absolute difference of pixels),
    ``adversarial``, and the ``losses`` by their names. While the weight of ``adversarial`` is 0, by
    ``adversarial_weight`` or by a schedule, the discriminator rests.
    """

    stochastic: ClassVar[bool] = False

    sees_condition: ClassVar[bool] = True
    """Whether the discriminator sees the condition image beside the image."""

    def __init__(
        self,
        network: Callable[[tuple[int, int], int, int, int], TranslatorNetwork],
        l1_weight: float = 100.0,
        adversarial_weight: float = 1.0,
        losses: dict[str, ImageLoss] | None = None,
        loss_schedules: dict[str, Schedule] | None = None,
        loss_balance: LossBalance | None = None,
        **options: Any,
    ) -> None:
        """Build the networks.

        Args:
            network: From image size, channels of images and of condition images, and condition size to the
                network.
            l1_weight: Weight of the mean absolute difference of pixels.
            adversarial_weight: Weight of the adversarial loss.
            losses: Further distances between output and target by names of your choice; each has its
                own weight.
            loss_schedules: Multiply the weights of terms while training, by their names (``l1``,
                ``adversarial`` or one of ``losses``). Validation uses the full weights.
            loss_balance: Adapts the weights to what the losses are; null: fixed.
            options: See ``AdversarialModule`` and ``ImageModule``.

        Raises:
            ConfigurationError: A loss cannot be computed, or a schedule names none.
        """
        super().__init__(**options)
        self.network: TranslatorNetwork = network(
            self.image_size, self.image_channels, self.condition_channels, self.condition_size
        )
        self.losses = ImageLosses(losses or {})
        own = {L1: l1_weight, ADVERSARIAL: adversarial_weight}
        weights = {**own, **self.losses.weights([*own, *_LOGGED_NAMES])}
        self.objective = Objective(weights, loss_schedules, loss_balance)

    @property
    def judged_channels(self) -> int:
        """Channels of an image and of what stands beside it."""
        return self.image_channels + (self.condition_channels if self.sees_condition else 0)

    @property
    def tile_multiple(self) -> int:  # type: ignore[override]  # known when the network is
        """What the sides of condition images must be multiples of."""
        return self.network.multiple

    def check(self) -> None:
        """Make sure that every loss can be computed for these images."""
        self.losses.check(self.image_size, self.image_channels)

    def schedules(self) -> dict[str, Schedule]:
        """Return all schedules by the options that they are given with."""
        return {**super().schedules(), **self.objective.schedule_options()}

    def described_networks(self) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
        """Return generator and discriminator with one example each."""
        height, width = (side // self.scale for side in self.image_size)
        image = torch.zeros(1, self.condition_channels, height, width)
        example = (image, torch.zeros(1, self.condition_size))
        return {"network": (self.network, example), **self.described_discriminator()}

    def _generated(self, batch: Batch) -> Translated:
        """Make an image from each condition image of a batch."""
        condition = self.condition_of(batch)
        target = batch.image if batch.target is None else batch.target
        vector = self.condition_vector(condition, len(batch))
        source = self._source(condition)
        beside = source if self.sees_condition else source[:, :0].new_zeros(len(target), 0, *target.shape[2:])
        return Translated(self.network(source, vector), target, beside, vector)

    def _source(self, condition: Condition) -> Tensor:
        if condition.image is None:
            raise ValueError(f"{type(self).__name__} needs condition images")
        return condition.image

    def change(self, image: Tensor, drawn: Tensor | None = None) -> Tensor:
        """Augment images for the discriminator; what stands beside them moves with them."""
        image, beside = image[:, : self.image_channels], image[:, self.image_channels :]
        drawn = self.augment.draw(len(image), image.device) if drawn is None else drawn
        return torch.cat([self.augment(image, drawn), self.augment(beside, drawn, moves_only=True)], dim=1)

    def _discriminator_learns(self) -> bool:
        """Whether the adversarial loss counts by now."""
        return self.objective.scheduled(self.progress())[ADVERSARIAL] > 0

    def _terms(self, generated: Translated, judged: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the terms of the loss, means over a batch, and further values to log."""
        difference = mean_absolute_error(generated.image.float(), generated.target.float())  # (N,)
        mse = mean_squared_error(generated.image, generated.target)
        terms = {L1: difference.mean(), **self.losses(generated.image, generated.target)}
        further = {"psnr": peak_signal_to_noise_ratio(mse).mean()}
        if judged:
            truth, opinion = self.judge(generated)
            terms[ADVERSARIAL] = self.adversarial_term(truth, opinion)
            if not self.training:
                further |= self.unseen(truth, opinion)
        return terms, further

    def _generator_loss(self, generated: Translated) -> Tensor:
        progress = self.progress()
        terms, further = self._terms(generated, self.objective.scheduled(progress)[ADVERSARIAL] > 0)
        loss: Tensor
        loss, weights = self.objective(terms, progress, generated.image)
        active = {f"weight/{name}": weight for name, weight in weights.items()}
        self.log_stage("train", {"loss": loss.detach(), **terms, **further, **active}, len(generated.target))
        return loss + self.losses.rest() if self.trainer.world_size > 1 else loss

    def _evaluate(self, batch: Batch, stage: str) -> None:
        terms, further = self._terms(self._generated(batch), self.objective.weights[ADVERSARIAL] > 0)
        loss = self.objective.plain(terms)
        self.log_stage(stage, {"loss": loss, **terms, **further}, len(batch))

    def validation_step(self, batch: Batch) -> None:
        """Log the losses of a batch."""
        self._evaluate(batch, "val")

    def test_step(self, batch: Batch) -> None:
        """Log the losses of a batch."""
        self._evaluate(batch, "test")

    def on_validation_epoch_end(self) -> None:
        """Let the loss balance see the losses."""
        self.tell_validation(self.objective)

    def sample(self, condition: Condition, seeds: Tensor) -> Tensor:
        """Make an image from each condition image; seeds change nothing. See the base class.

        Args:
            condition: N condition images (N, K, h, w), of any size whose sides are multiples of
                ``tile_multiple``.
            seeds: (N,) int64.

        Returns:
            (N, C, h * scale, w * scale) float32 in [0, 1].
        """
        condition = condition.to(self.device)
        images: Tensor = self.network(self._source(condition), self.condition_vector(condition, len(seeds)))
        return images
