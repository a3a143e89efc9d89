"""What every approach promises, so that callbacks, metrics and verbs need to know no more.

Here: the promises and the wiring that all approaches share (optimiser, schedule, progress,
logging). Not here: networks, losses, files, plots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer

from vedute.batch import Batch, Condition, ConditionKind
from vedute.conditions import parse_condition
from vedute.errors import ConfigurationError
from vedute.losses.objective import Objective
from vedute.sampling.seeds import seeded_normal
from vedute.schedules import Budget, Constant, Progress, Schedule, check_schedule, follows_fraction

_SHOWN_TRAINING = ("loss", "psnr", "kl", "accuracy")
_SHOWN_AFTER = ("loss", "accuracy", "mae", "rank_correlation", "iou")
"""What the progress bar shows while training, and of the validation after it."""

_BATCH_STATISTICS = (".running_mean", ".running_var")

OptimizerFactory = Callable[[Iterable[Parameter]], Optimizer]


class ImageModule(LightningModule):
    """A LightningModule on images of one size: generators and judges.

    The facts about the data come from the datamodule (the command line links them) and are saved
    in the checkpoint, which therefore works without its YAML and data. A subclass takes its own
    arguments and passes the facts through: ``def __init__(self, network, **facts)``.
    """

    def __init__(
        self,
        image_size: tuple[int, int],
        image_channels: int,
        condition_kind: ConditionKind,
        condition_names: list[str],
        train_size: int,
        optimizer: OptimizerFactory,
        learning_rate_schedule: Schedule | None = None,
        condition_channels: int = 0,
        condition_mean: list[float] | None = None,
        condition_scale: list[float] | None = None,
        condition_range: list[float] | None = None,
    ) -> None:
        """Keep the data set's facts and how to optimise.

        Args:
            image_size: Height and width of the images, pixels.
            image_channels: Channels of the images.
            condition_kind: What a condition is.
            condition_names: Names of the entries of the condition vector; empty for an unconditional model.
            train_size: Number of images in the training split.
            optimizer: From parameters to an optimiser.
            learning_rate_schedule: Multiplies the optimiser's learning rate; None: constant.
            condition_channels: Channels of the condition image (a mask: 1); 0: there is none.
            condition_mean: Means of scores: an entry of the vector is (score - mean) / scale.
            condition_scale: Scales of scores.
            condition_range: The lowest and the highest legal score; empty: any.
        """
        super().__init__()
        self.save_hyperparameters()
        self.image_size = (int(image_size[0]), int(image_size[1]))
        self.image_channels = image_channels
        self.condition_kind = condition_kind
        self.condition_names = list(condition_names)
        self.condition_channels = condition_channels
        self.condition_mean = list(condition_mean or [])
        self.condition_scale = list(condition_scale or [])
        self.condition_range = list(condition_range or [])
        self._choose_conditions()
        self.train_size = train_size
        self._optimizer = optimizer
        self._schedule = learning_rate_schedule or Constant()
        check_schedule(self._schedule, "learning_rate_schedule")

    def _choose_conditions(self) -> None:
        """Change what the conditions are, where they are not those of the data set."""
        return

    _uncounted = 0
    """Batches that are done, but not counted by Lightning, when the rates of the next one are set."""

    @property
    def condition_size(self) -> int:
        """Number D of entries of a condition vector; 0 for an unconditional model."""
        return len(self.condition_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        return (self.image_channels, *self.image_size)

    def setup(self, stage: str) -> None:
        """Lay the weights out channels last, which convolutions on CPUs and GPUs prefer.

        Raises:
            ConfigurationError: Something follows the share of a training that has no planned end.
        """
        self.to(memory_format=torch.channels_last)
        if stage == "fit":
            for name, schedule in self.schedules().items():
                if follows_fraction(schedule):
                    self.require_planned_end(name)

    def schedules(self) -> dict[str, Schedule]:
        """Return all schedules by the options that they are given with."""
        return {"learning_rate_schedule": self._schedule}

    def require_planned_end(self, option: str) -> None:
        """Make sure that the training has a planned end, which ``option`` needs.

        Raises:
            ConfigurationError: It has none.
        """
        endless = self.trainer.max_epochs in (None, -1) and self.trainer.max_steps == -1
        if endless and not any(budget.limited for budget in self._budgets()):
            raise ConfigurationError(
                f"{option} follows the share of the training that is done, which needs a planned end: set "
                "trainer.max_epochs, trainer.max_steps, budget.minutes or budget.images."
            )

    def check(self) -> None:
        """Make sure of what training needs and a use of the trained model does not.

        Raises:
            ConfigurationError: Something is missing, e.g. the weights of a perceptual loss.
        """
        return

    def described_networks(self) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
        """Return the networks to describe by name, each with example inputs of one image."""
        raise ConfigurationError(f"{type(self).__name__} does not say how its networks are called.")

    def progress(self, ahead: int = 0) -> Progress:
        """Return how far the attached trainer is.

        Args:
            ahead: Batches that are done, but that Lightning has not counted yet.
        """
        total = self.trainer.estimated_stepping_batches
        batches = self.trainer.num_training_batches
        # Batches done: in a training step without the one at work, for a rate after it with it.
        done = self.trainer.fit_loop.epoch_loop.batch_progress.total
        counted: int = getattr(done, "processed")  # noqa: B009  # Lightning's types know less than its objects
        steps = ahead + counted
        epoch = steps / batches if batches and batches != float("inf") else float(self.current_epoch)
        shares = [budget.fraction for budget in self._budgets()]
        if total != float("inf"):
            shares.append(steps / self.trainer.accumulate_grad_batches / total)
        if self.trainer.max_steps > 0:
            # Lightning counts the steps of each optimiser towards max_steps, but plans one a batch.
            shares.append(self.global_step / self.trainer.max_steps)
        return Progress(epoch, min(1.0, max(shares, default=0.0)))

    def fitting(self) -> bool:
        """Whether this is a training (or a validation within one), beyond the check before it."""
        return self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking

    def _budgets(self) -> list[Budget]:
        """Return what ends the training by another measure than epochs."""
        callbacks: list[object] = getattr(self.trainer, "callbacks", [])
        return [callback for callback in callbacks if isinstance(callback, Budget)]

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Build the optimiser over all trainable weights, its rate following the schedule."""
        optimizer = self._optimizer(p for p in self.parameters() if p.requires_grad)
        return self.scheduled(optimizer, self._schedule)

    def scheduled(self, optimizer: Optimizer, schedule: Schedule) -> OptimizerLRSchedulerConfig:
        """Let an optimiser's rate follow a schedule, step by step."""
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda _: schedule(self.progress(self._uncounted))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def log_stage(self, stage: str, values: Mapping[str, Tensor | float], batch_size: int) -> None:
        """Log ``values`` as ``stage/name``: per step and shown while training, per epoch otherwise.

        Args:
            stage: ``train``, ``val`` or ``test``.
            values: Scalars by name; the main ones also go to the progress bar.
            batch_size: Images they are the mean of.
        """
        train = stage == "train"
        for name, value in values.items():
            self.log(
                f"{stage}/{name}",
                value,
                prog_bar=name in (_SHOWN_TRAINING if train else _SHOWN_AFTER),
                on_step=train,
                on_epoch=not train,
                batch_size=batch_size,
                sync_dist=not train,
            )


class GenerativeModule(ImageModule):
    """A model that makes images.

    These are its promises: callbacks, metrics and verbs use nothing else.
    """

    has_encoder: ClassVar[bool] = False
    """Whether ``reconstruct``, ``embed`` and ``decode`` work."""

    @property
    def scale(self) -> int:
        """Pixels of an image along a side for each pixel of its condition image."""
        return 1

    tile_multiple: int = 1
    """Sides of condition images of other sizes than the data's must be multiples of it."""

    stochastic: ClassVar[bool] = True
    """Whether several images are made under one condition; if not, seeds change nothing."""

    embeds_noise: ClassVar[bool] = False
    """Whether ``embed`` returns noise, of about one length, rather than vectors of any length."""

    decodes_condition: ClassVar[bool] = True
    """Whether ``decode`` looks at the condition: an image can be decoded under another one then."""

    def sample(self, condition: Condition, seeds: Tensor) -> Tensor:
        """Generate one image per seed.

        Image n depends on its seed and condition only, not on the batch it is in (to 1/255).
        Call in eval mode, without gradients. A model without ``latent_shape`` overrides this.

        Args:
            condition: N conditions; both fields None for an unconditional model.
            seeds: (N,) int64.

        Returns:
            (N, C, H, W) float32 in [0, 1].
        """
        if self.latent_shape is None:
            raise NotImplementedError(f"{type(self).__name__} does not say how it samples")
        return self.generate(condition, seeded_normal(seeds, self.latent_shape, self.device))

    def condition_of(self, batch: Batch) -> Condition:
        """Return what a batch's images are to be made from: its conditions, as the data have them."""
        return batch.condition

    @property
    def latent_shape(self) -> tuple[int, ...] | None:
        """Shape of the noise that one image is made of; None: the model is not driven by such noise."""
        return None

    def generate(self, condition: Condition, noise: Tensor) -> Tensor:
        """Turn standard normal noise into images.

        ``sample(condition, seeds)`` is ``generate(condition, seeded_normal(seeds, latent_shape))``.

        Args:
            condition: N conditions.
            noise: (N, *latent_shape) standard normal.

        Returns:
            (N, C, H, W) float32 in [0, 1].

        Raises:
            ConfigurationError: ``latent_shape`` is None.
        """
        raise ConfigurationError(f"{type(self).__name__} does not make images from a noise of fixed shape.")

    def decode(self, latents: Tensor, condition: Condition) -> Tensor:
        """Turn latent vectors (N, D), as ``embed`` gives them, into images (N, C, H, W) in [0, 1]."""
        raise ConfigurationError(f"{type(self).__name__} has no encoder: it has no latent vectors to decode.")

    def edit(self, latents: Tensor, source: Condition, target: Condition) -> Tensor:
        """Decode latent vectors of images of one condition under another.

        Args:
            latents: (N, D), as ``embed`` gives them.
            source: Conditions that the images were encoded under.
            target: Conditions that they are wanted under; where they are the source's, images come back.

        Returns:
            (N, C, H, W) in [0, 1].
        """
        return self.decode(latents, target)

    def reconstruct(self, batch: Batch) -> Tensor:
        """Return (N, C, H, W) in [0, 1]: the batch's images through the model and back."""
        raise ConfigurationError(f"{type(self).__name__} has no encoder: it cannot reconstruct images.")

    def embed(self, batch: Batch) -> Tensor:
        """Return (N, D) float32: the batch's images as latent vectors."""
        raise ConfigurationError(f"{type(self).__name__} has no encoder: it cannot embed images.")

    def latent_scores(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Return what the latent code of a data set's images carries, by name; empty: nothing is known."""
        return {}

    def condition_vector(self, condition: Condition, count: int) -> Tensor:
        """Return the condition vectors (N, D) of ``count`` images; (N, 0) when the model is unconditional.

        Raises:
            ValueError: The model needs them and there are none.
        """
        if not self.condition_size:
            return torch.zeros(count, 0, device=self.device)
        if condition.vector is None:
            raise ValueError(
                f"{type(self).__name__} needs a condition vector of {self.condition_size} entries"
            )
        return condition.vector

    def refuse_condition_images(self) -> None:
        """Say that this approach has no input for condition images, where the data have some.

        Raises:
            ConfigurationError: They have.
        """
        if self.condition_channels:
            raise ConfigurationError(
                f"{type(self).__name__} has no input for condition images, but the data have masks. Leave "
                "them out (data.condition none, or no data.mask_column), or choose a model that makes images "
                "from masks."
            )

    def tell_validation(self, objective: Objective) -> None:
        """Let an objective's balance see the means of its terms over the validation that ends."""
        if not self.fitting():
            return
        logged = self.trainer.callback_metrics
        terms = {name: f"val/{name}" for name in objective.weights}
        objective.after_validation({name: float(logged[key]) for name, key in terms.items() if key in logged})

    def averaged_tensors(self) -> dict[str, Tensor]:
        """Return what EMA averages, by name: all weights and what batch norms have learned of their inputs.

        A GAN returns its generator's.
        """
        weights = {name: weight for name, weight in self.named_parameters() if weight.requires_grad}
        statistics = {name: value for name, value in self.named_buffers() if name.endswith(_BATCH_STATISTICS)}
        return {**weights, **statistics}

    def parse_condition(self, text: str) -> Tensor:
        """Turn a condition as typed (``coast=0.7,forest=0.3``, ``Moira=9``) into its (D,) vector."""
        return parse_condition(
            text,
            self.condition_kind,
            self.condition_names,
            self.condition_mean,
            self.condition_scale,
            self.condition_range,
        )

    def predict_step(self, batch: Batch) -> Tensor:
        """Generate one image for each condition of the batch; the row index is the seed."""
        seeds = batch.index if batch.index is not None else torch.arange(len(batch))
        return self.sample(self.condition_of(batch), seeds)
