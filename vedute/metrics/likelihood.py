"""How likely test images are under a model, beside training images: overfitting shows as a gap."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from vedute.metrics.bootstrap import Interval, bootstrap_mean
from vedute.metrics.chosen import drawn
from vedute.metrics.real_sets import Bar
from vedute.promises import HasLikelihood, ImageData
from vedute.sampling.likelihood import Integration


@dataclass(frozen=True)
class LikelihoodSettings:
    """How much of a likelihood is measured.

    Attributes:
        images: At most so many test images, and as many training images; at least 2, or there is no interval.
        integration: Steps, solver and probes.
    """

    images: int
    integration: Integration = field(default_factory=Integration)


@dataclass(frozen=True)
class Likelihood:
    """Bits per dimension of 8-bit pixels, lower is better: means over images, with their 95 % intervals.

    Attributes:
        held_out: Of images that the model was not trained on.
        training: Of training images, not augmented.
        images: Number of the former and of the latter.
        integration: Steps, solver and probes.
    """

    held_out: Interval
    training: Interval
    images: tuple[int, int]
    integration: Integration

    def scores(self) -> dict[str, object]:
        """Return the values as plain ones, with how they were computed."""
        return {
            "bits_per_dimension": self.held_out.value,
            "interval": [self.held_out.low, self.held_out.high],
            "images": self.images[0],
            "training": {
                "bits_per_dimension": self.training.value,
                "interval": [self.training.low, self.training.high],
                "images": self.images[1],
            },
            **asdict(self.integration),
            "guidance": 1.0,  # a guided flow has no density
        }


def measure_likelihood(
    model: HasLikelihood,
    data: ImageData,
    split: str,
    settings: LikelihoodSettings,
    batch_size: int,
    seed: int,
    bar: Bar,
) -> Likelihood:
    """Measure how likely images of a split and of the training split are under a model.

    Args:
        model: In eval mode.
        data: Its data set.
        split: Of images that it was not trained on.
        settings: How many, and how.
        batch_size: Images computed at a time.
        seed: Of the choice of images, of the noise that fills up their 8 bits and of the probes.
        bar: Shows progress.

    Raises:
        ConfigurationError: The model does not tell.
        DataError: There are fewer than two images, or the model has diverged.
    """
    found: dict[str, Tensor] = {}
    for part in (split, "train"):
        rows = drawn(data.size(part), settings.images, seed)
        values = []
        with bar(f"Likelihood of {part} images", len(rows)) as advance:
            for some in torch.split(rows, batch_size):
                batch = data.batch(part, some).to(model.device)
                values.append(model.bits_per_dimension(batch, seed + some, settings.integration).cpu())
                advance(len(some))
        found[part] = torch.cat(values)
    held_out, training = found[split], found["train"]
    return Likelihood(
        bootstrap_mean(held_out),
        bootstrap_mean(training),
        (len(held_out), len(training)),
        settings.integration,
    )
