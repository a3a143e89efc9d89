"""Conditional flow matching: a velocity field that carries noise to images."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from lightning_modules.base import GenerativeModule
from lightning_modules.codec import CODEC_KEY, Codec, codec_of
from vedute.augment.conditioned import ConditionedAugmentation
from vedute.batch import Batch, Condition
from vedute.errors import ConfigurationError
from vedute.networks.flow import FlowCondition, FlowNetwork, FlowTask
from vedute.promises import Generator, as_image_data
from vedute.sampling.coupling import optimal_pairs
from vedute.sampling.flow_sampler import ADAPTIVE, FlowSampler
from vedute.sampling.likelihood import Integration
from vedute.sampling.paths import LinearPath
from vedute.sampling.seeds import seeded_normal
from vedute.sampling.solvers import Velocity
from vedute.sampling.times import TrainingTimes, UniformTimes

_log = logging.getLogger("vedute.flow")

Prediction = Literal["velocity", "data"]

_GOLDEN = 0.6180339887498949  # steps of the golden ratio fill [0, 1) evenly, whatever their number


class FlowMatching(GenerativeModule):
    """A network that knows at each time where noise must go to become an image, and a solver that follows it.

    Training draws an image, noise and a time t, and asks for the velocity ``data - noise`` of the straight
    path between them at ``(1 - t) noise + t data``. One condition in ten is replaced by a
    learned null condition, so that guidance has something to compare with. Works for classes, fuzzy labels,
    scores, and condition images (masks).

    The solver also runs backwards: ``embed`` returns the noise of an image, so that images can be
    reconstructed, mixed, and made again under another condition.

    Sources: Lipman et al. 2023, https://arxiv.org/abs/2210.02747; Liu et al. 2023 (rectified flow),
    https://arxiv.org/abs/2209.03003; guidance: Ho and Salimans 2022, https://arxiv.org/abs/2207.12598.
    """

    has_encoder: ClassVar[bool] = True
    embeds_noise: ClassVar[bool] = True
    spans: ClassVar[bool] = False
    """Whether the network is told how far a step goes; see ``MeanFlow``."""

    def __init__(
        self,
        network: Callable[[FlowTask], FlowNetwork],
        times: TrainingTimes | None = None,
        prediction: Prediction = "velocity",
        coupling: bool = False,
        condition_dropout: float = 0.1,
        augment: ConditionedAugmentation | None = None,
        sampler: FlowSampler | None = None,
        codec: str | None = None,
        **facts: Any,
    ) -> None:
        """Build the network.

        Args:
            network: From what it is built for (sizes of states, conditions and augmentation) to the network.
            times: What times training draws; null: all alike.
            prediction: What the network's output means: the velocity, or the image at the end (whose
                velocity is then compared).
            coupling: Whether the noise of a batch is dealt out so that the paths are short (optimal transport
                within the batch, among images of the same condition).
            condition_dropout: Share of images trained without their condition, in [0, 1); 0: no guidance.
            augment: Augmentation whose parameters the network is told, so that generated images show none
                of it; null: none.
            sampler: How images are made: solver, steps, guidance; null: its defaults.
            codec: Checkpoint of a trained VQ-VAE of the same data, in whose maps the flow is learned: for
                larger images; null: the flow is one of pixels.
            facts: About the data, and how to optimise; see ``ImageModule``.

        Raises:
            ConfigurationError: A number is out of its range, or the network cannot take such images.
        """
        super().__init__(**facts)
        if prediction not in ("velocity", "data"):
            raise ConfigurationError(f"model.prediction is 'velocity' or 'data', got '{prediction}'.")
        if coupling and (self.condition_channels or augment is not None):
            raise ConfigurationError(
                "model.coupling deals noise out among images of one condition, but with condition images or "
                "a conditioned augmentation each image has its own: nothing would move. Leave one out."
            )
        if not 0 <= condition_dropout < 1:
            raise ConfigurationError(
                f"model.condition_dropout is a share of images in [0, 1), got {condition_dropout:g}."
            )
        self.times = times or UniformTimes()
        self.prediction = prediction
        self.coupling = coupling
        self.conditional = self.condition_kind != "none"
        self.condition_dropout = condition_dropout if self.conditional else 0.0
        self.augment = augment
        self.sampler = sampler or FlowSampler()
        self.path = LinearPath()
        # Solved in fine steps near the data, where training keeps velocities of predicted data small.
        self._fine_path = LinearPath(smallest=1e-3)
        self.codec: Codec | None = None
        if codec is not None:
            self.codec = codec_of(Path(codec), self.image_size, self.image_channels)
            if self.condition_channels:
                raise ConfigurationError(
                    "A flow of a codec's maps takes no condition images: leave out model.codec."
                )
        channels, height, width = self.latent_shape
        self.network: FlowNetwork = network(
            FlowTask(
                (height, width),
                channels,
                self.condition_size,
                self.condition_channels,
                0 if augment is None else augment.size,
                self.spans,
            )
        )
        self._guide: FlowMatching | None = None

    def described_networks(self) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
        """Return the network with an example of one image."""
        return {
            "network": (
                _Described(self.network, self.condition_size, self.condition_channels),
                (torch.zeros(1, *self.latent_shape), torch.zeros(1)),
            )
        }

    # Training.

    def setup(self, stage: str) -> None:
        """Say at the start of a training what the sampler cannot do, and measure the codec's maps."""
        super().setup(stage)
        if stage == "fit":
            self.set_sampler(self.sampler)
        if self.codec is not None and stage == "fit" and not bool(self.codec.mean.any()):
            self.codec.measure(as_image_data(getattr(self.trainer, "datamodule", None)))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write what the codec is: the checkpoint is used without the codec's own file."""
        if self.codec is not None:
            checkpoint[CODEC_KEY] = self.codec.description

    def averaged_tensors(self) -> dict[str, Tensor]:
        """Return what EMA averages: all but the codec."""
        averaged = super().averaged_tensors()
        return {name: tensor for name, tensor in averaged.items() if not name.startswith("codec.")}

    def _state(self, image: Tensor) -> Tensor:
        """Return images in [0, 1] as the flow's data: about in [-1, 1], or a codec's maps."""
        return 2 * image.float() - 1 if self.codec is None else self.codec.encode(image)

    def _image(self, state: Tensor) -> Tensor:
        return (0.5 * state + 0.5).clamp(0, 1) if self.codec is None else self.codec.decode(state)

    def _condition(self, condition: Condition, count: int, kept: Tensor | None = None) -> FlowCondition:
        vector = self.condition_vector(condition, count) if self.condition_size else None
        image = condition.image if self.condition_channels else None
        return FlowCondition(vector, image, kept)

    def _velocity(
        self, x: Tensor, t: Tensor, condition: FlowCondition, path: LinearPath | None = None
    ) -> Tensor:
        """Return the velocity (N, C, H, W) float32 at x (N, C, H, W) and times (N,)."""
        output: Tensor = self.network(x, t, condition).float()
        if self.prediction == "velocity":
            return output
        return (path or self.path).velocity_of_data(x, output, t)

    def _ends(self, batch: Batch, noise: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor, FlowCondition]:
        """Return both ends of the paths, noise and data (N, C, H, W), and the condition."""
        image = batch.image
        condition = self._condition(batch.condition, len(batch), kept)
        if self.training and self.augment is not None:
            # A mask is changed as its image is.
            whole = image if condition.image is None else torch.cat([image, condition.image.to(image)], dim=1)
            whole, condition.augmentation = self.augment(whole)
            image = whole[:, : self.image_channels]
            if condition.image is not None:
                condition.image = whole[:, self.image_channels :]
        data = self._state(image)
        if self.training and self.coupling:
            # Pairs across what the network is told would give each condition a part of the noise only.
            told = [condition.vector, condition.augmentation, None if kept is None else kept[:, None]]
            groups = [one.float() for one in told if one is not None]
            noise = noise[optimal_pairs(noise, data, torch.cat(groups, dim=1) if groups else None)]
        return noise, data, condition

    def _losses(self, ends: tuple[Tensor, Tensor, FlowCondition], t: Tensor) -> Tensor:
        """Return (N,) mean squared errors of the velocity."""
        noise, data, condition = ends
        error = self._velocity(self.path.at(noise, data, t), t, condition) - self.path.velocity(noise, data)
        return error.square().flatten(1).mean(dim=1)

    def _kept(self, count: int) -> Tensor | None:
        """Draw whose conditions are kept, (N,) bool; None: all are."""
        if not self.condition_dropout:
            return None
        return torch.rand(count, device=self.device) >= self.condition_dropout

    def training_step(self, batch: Batch) -> Tensor:
        """Return the loss of a batch at random times."""
        count = len(batch)
        noise = torch.randn(count, *self.latent_shape, device=self.device)
        ends = self._ends(batch, noise, self._kept(count))
        loss = self._losses(ends, self.times(count, self.device)).mean()
        self.log_stage("train", {"loss": loss}, count)
        return loss

    def _evaluate(self, batch: Batch, stage: str) -> None:
        # A row has the same noise and time in each epoch, and the times fill [0, 1] evenly.
        rows = torch.arange(len(batch)) if batch.index is None else batch.index.cpu()
        noise = seeded_normal(rows, self.latent_shape, self.device)
        t = ((rows.double() * _GOLDEN + 0.5) % 1).float().to(self.device)
        losses = self._losses(self._ends(batch, noise, None), t)
        values = {"loss": losses.mean()}
        for name, part in (("early", t < 0.5), ("late", t >= 0.5)):
            if bool(part.any()):
                self.log_stage(stage, {f"loss_{name}": losses[part].mean()}, int(part.sum()))
        self.log_stage(stage, values, len(batch))

    def validation_step(self, batch: Batch) -> None:
        """Log the loss of a batch."""
        self._evaluate(batch, "val")

    def test_step(self, batch: Batch) -> None:
        """Log the loss of a batch."""
        self._evaluate(batch, "test")

    # Generating.

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Shape (C, H, W) of the noise that one image is made of: that of an image, or of a codec's map."""
        return self.image_shape if self.codec is None else self.codec.shape

    def set_sampler(self, sampler: FlowSampler, guide: Generator | None = None) -> None:
        """Choose how images are made from now on.

        Args:
            sampler: Solver, steps, guidance.
            guide: A smaller or less trained model of the same data to be guided away from (autoguidance,
                Karras et al. 2024, https://arxiv.org/abs/2406.02507); None: this model without its condition.
                Without either, guidance does nothing, which is said.

        Raises:
            ConfigurationError: The guide makes other images, or knows other conditions.
        """
        if guide is not None and not isinstance(guide, FlowMatching):
            raise ConfigurationError(
                f"A guide must be a flow model as well, got {type(guide).__name__}: give the checkpoint of a "
                "smaller or less trained flow model of the same data."
            )
        if guide is not None:
            self._check_guide(guide)
        self.sampler = self._possible(sampler, guide)
        if self.sampler != sampler:
            reason = (
                "it was trained with condition_dropout 0, so it does not know images without a condition"
                if self.conditional
                else "it has no conditions"
            )
            _log.warning("guidance %g does nothing with this model: %s.", sampler.guidance, reason)
        # Not registered: a guide is no part of this model and of its checkpoints.
        object.__setattr__(self, "_guide", guide)

    def _possible(self, sampler: FlowSampler, guide: object) -> FlowSampler:
        """Return the sampler without guidance where there is nothing to be guided away from."""
        return sampler if guide is not None or self.condition_dropout else replace(sampler, guidance=1.0)

    def _check_guide(self, guide: FlowMatching) -> None:
        """Make sure that a guide's velocities are of the same states and conditions.

        Raises:
            ConfigurationError: They are not.
        """
        mine, theirs = (
            {
                "images": one.image_shape,
                "states": one.latent_shape,
                "conditions": ", ".join(one.condition_names) or "none",
                "channels of condition images": one.condition_channels,
            }
            for one in (self, guide)
        )
        wrong = [
            f"{what} {theirs[what]} instead of {mine[what]}" for what in mine if mine[what] != theirs[what]
        ]
        if wrong:
            raise ConfigurationError(
                f"The guide does not fit this model, it has {'; '.join(wrong)}: take one of the same data, "
                "trained at the same image size."
            )

    def _field(self, condition: Condition, count: int, kept: bool = True) -> Velocity:
        """Return the velocity under conditions, or under none of them."""
        given = None if kept else torch.zeros(count, dtype=torch.bool, device=self.device)
        told = self._condition(condition.to(self.device), count, given)
        return lambda x, t: self._velocity(x, t, told, self._fine_path)

    def _doubled(self, condition: Condition, count: int) -> Velocity:
        """Return the velocities of twice as many rows: with their conditions, and without."""
        condition = condition.to(self.device).map(lambda tensor: torch.cat([tensor, tensor]))
        kept = torch.arange(2 * count, device=self.device) < count
        told = self._condition(condition, 2 * count, kept)
        return lambda x, t: self._velocity(x, t, told, self._fine_path)

    def sample(self, condition: Condition, seeds: Tensor) -> Tensor:
        """Generate one image per seed; see the base class."""
        noise = seeded_normal(seeds, self.latent_shape, self.device)
        return self._solve(condition, noise, seeds)

    def generate(self, condition: Condition, noise: Tensor) -> Tensor:
        """Follow the flow from noise (N, C, H, W); see the base class."""
        # A stochastic solver draws further noise: each row's own, told by the first values of its noise.
        seeds = noise.detach().float().cpu().flatten(1)[:, :4].contiguous().view(torch.int32).long().sum(1)
        return self._solve(condition, noise.to(self.device), seeds)

    def _solve(self, condition: Condition, noise: Tensor, seeds: Tensor) -> Tensor:
        strong, weak, doubled = self._field(condition, len(noise)), None, None
        if self._guide is not None:
            weak = self._guide._field(condition, len(noise))
        elif self.condition_dropout:
            weak = self._field(condition, len(noise), kept=False)
            doubled = self._doubled(condition, len(noise))
        return self._image(self._fitting_sampler.run(strong, weak, noise.float(), seeds, doubled))

    @property
    def _plain(self) -> FlowSampler:
        """The sampler without guidance and fresh noise: what can be run backwards."""
        return replace(self._fitting_sampler, guidance=1.0, noise_scale=0.0)

    @property
    def _fitting_sampler(self) -> FlowSampler:
        """The sampler; of a network that predicts data, which says nothing of the velocity at t = 1."""
        sampler = self._possible(self.sampler, self._guide)
        direct = self.prediction == "data" and sampler.solver != ADAPTIVE
        return replace(sampler, direct_ending=True) if direct else sampler

    def embed(self, batch: Batch) -> Tensor:
        """Return the noise that images are made of, (N, C * H * W): the flow backwards, without guidance."""
        velocity = self._field(batch.condition, len(batch))
        return self._plain.invert(velocity, None, self._state(batch.image.to(self.device))).flatten(1)

    def decode(self, latents: Tensor, condition: Condition) -> Tensor:
        """Make images from noise as ``embed`` gives it, under any condition, guided as the sampler says."""
        return self.generate(condition, latents.to(self.device).view(-1, *self.latent_shape))

    def edit(self, latents: Tensor, source: Condition, target: Condition) -> Tensor:
        """Make images from their noise under other conditions; see the base class.

        Guidance is away from the source's condition here, not from none: it strengthens what changes
        and leaves alone what does not. An image under its own condition comes back whatever the guidance.
        """
        if self._fitting_sampler.guidance == 1 or self._guide is not None:
            return self.decode(latents, target)
        count = len(latents)
        strong, weak = self._field(target, count), self._field(source, count)
        noise = latents.to(self.device).float().view(-1, *self.latent_shape)
        return self._image(
            replace(self._fitting_sampler, noise_scale=0.0).run(strong, weak, noise, _no_seeds(count))
        )

    def reconstruct(self, batch: Batch) -> Tensor:
        """Run the flow backwards and forwards again, without guidance: shows the error of the solver."""
        velocity = self._field(batch.condition, len(batch))
        noise = self.embed(batch).view(-1, *self.latent_shape)
        return self._image(self._plain.run(velocity, None, noise, _no_seeds(len(batch))))

    def check_likelihood(self) -> None:
        """Make sure that the model tells how likely images are.

        Raises:
            ConfigurationError: Its flow is one of a codec's maps, or predicts data.
        """
        if self.codec is not None:
            raise ConfigurationError(
                f"This flow is one of a codec's maps {self.codec.shape}, not of images {self.image_shape}: "
                "it does not tell how likely images are. Leave the likelihood out, or take a flow of pixels "
                "(model.codec null)."
            )
        if self.prediction != "velocity":
            raise ConfigurationError(
                "A likelihood begins at the images themselves, where a network that predicts "
                f"{self.prediction} says nothing of the velocity. Leave the likelihood out, or take a model "
                "with prediction velocity."
            )

    def bits_per_dimension(
        self, batch: Batch, seeds: Tensor, integration: Integration | None = None
    ) -> Tensor:
        """Return how many bits the model needs for each value of 8-bit images, (N,); lower is better.

        Images are rounded to their 256 levels and each level is filled with uniform noise (dequantisation),
        so that they have a density: on average an upper bound of the bits of the levels themselves. It is
        that of the flow under the images' conditions; guidance has none.

        Args:
            batch: Images in [0, 1] with their conditions.
            seeds: (N,) int64: of the noise that fills up the levels, and of the trace's probes.
            integration: Steps, solver and probes; None: its defaults.

        Raises:
            ConfigurationError: See ``check_likelihood``.
        """
        self.check_likelihood()
        with torch.inference_mode(False):  # the trace needs gradients, which Lightning's loops forbid
            batch = batch.map(torch.clone)
            velocity = self._field(batch.condition, len(batch))
            image = batch.image.to(self.device)
            return (integration or Integration()).bits_per_dimension(velocity, image, seeds)


def _no_seeds(count: int) -> Tensor:
    """Return seeds (N,) for a sampler that renews no noise."""
    return torch.zeros(count, dtype=torch.int64)


class _Described(nn.Module):
    """The network as ``describe`` calls it: with the null condition."""

    def __init__(self, network: FlowNetwork, condition_size: int, condition_channels: int) -> None:
        super().__init__()
        self.network = network
        self.sizes = condition_size, condition_channels

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the network's output (N, C, H, W)."""
        size, channels = self.sizes
        vector = x.new_zeros(len(x), size) if size else None
        image = x.new_zeros(len(x), channels, *x.shape[2:]) if channels else None
        output: Tensor = self.network(x, t, FlowCondition(vector, image))
        return output
