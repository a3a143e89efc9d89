"""The VQ-VAE with a conditional prior over its codes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, cast

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import Parameter
from torch.optim import Optimizer

from lightning_modules.base import GenerativeModule
from vedute.batch import Batch, Condition
from vedute.errors import ConfigurationError
from vedute.losses.objective import Objective
from vedute.losses.pixel import mean_squared_error, peak_signal_to_noise_ratio
from vedute.losses.terms import ImageLoss, ImageLosses, LossBalance
from vedute.metrics.codes import CodeUsage
from vedute.networks.code_prior import CodePrior, CodeSampler
from vedute.networks.vq_autoencoder import VQAutoencoder
from vedute.schedules import Progress, Schedule

_STAGES = ("train", "val", "test")
_OWN_TERMS = ("reconstruction", "commitment", "prior")
_LOGGED = ("loss", "mse", "psnr", "perplexity", "code_usage", "weight")


class VQVAE(GenerativeModule):
    """An autoencoder through a codebook, and a transformer that generates its codes under a condition.

    The objective is a sum of named terms: ``reconstruction`` (MSE * number of training images),
    ``commitment`` (mean squared distance of encoder outputs from their codes, times the same number),
    the ``losses`` by their names, and ``prior`` (negative log probability of the codes, in nats per
    code). No gradient goes from the prior to the autoencoder.

    Training is one run. With ``prior_from`` null both learn all the time. With a share of the run,
    e.g. 0.5, the autoencoder learns until then and is frozen afterwards, while the prior learns on codes
    that do not change any more; each goes through the whole learning rate schedule in its part.

    ``val/loss`` is the weighted sum of all terms in both parts, so it can decide ``best.ckpt``: the
    autoencoder lowers it first, the prior then. The terms have different units (an MSE times a number of
    images, nats per code), so it is no likelihood. Before the prior has learned anything its term is
    ln K, that of K codes which are equally likely.

    Source: van den Oord et al. 2017, https://arxiv.org/abs/1711.00937; the transformer as prior after
    Esser et al. 2021, https://arxiv.org/abs/2012.09841.
    """

    has_encoder: ClassVar[bool] = True
    decodes_condition: ClassVar[bool] = False  # the codes say everything

    def __init__(
        self,
        network: Callable[[tuple[int, int], int], VQAutoencoder] = VQAutoencoder,
        prior: Callable[[int, tuple[int, int], int], CodePrior] = CodePrior,
        prior_from: float | None = None,
        code_sampler: CodeSampler | None = None,
        reconstruction_weight: float = 1.0,
        commitment_weight: float = 0.25,
        prior_weight: float = 1.0,
        losses: dict[str, ImageLoss] | None = None,
        loss_schedules: dict[str, Schedule] | None = None,
        loss_balance: LossBalance | None = None,
        **facts: Any,
    ) -> None:
        """Build the model.

        Args:
            network: From image size and image channels to the autoencoder.
            prior: From number of codes, size of their map and condition size to the prior.
            prior_from: Share of the run, in (0, 1), after which the autoencoder is frozen and the prior
                learns; null: both learn all the time.
            code_sampler: How codes are drawn when generating; null: as the prior says.
            reconstruction_weight: Weight of MSE * number of training images.
            commitment_weight: Weight of the commitment * number of training images.
            prior_weight: Weight of the prior's loss.
            losses: Further distances between output and target by names of your choice; each has its
                own weight.
            loss_schedules: Multiply the weights of terms while training, by their names (``commitment``,
                ``reconstruction``, ``prior`` or one of ``losses``). Validation uses the full weights.
            loss_balance: Adapts the weights to what the losses are; null: fixed.
            facts: About the data, and how to optimise; see ``ImageModule``.

        Raises:
            ConfigurationError: The conditions are images, a loss cannot be computed for these images, or
                guidance is asked for but nothing is learned without conditions.
        """
        super().__init__(**facts)
        self.refuse_condition_images()
        if prior_from is not None and not 0 < prior_from < 1:
            raise ConfigurationError(
                f"model.prior_from is a share of the run in (0, 1), or null: train both all the time; got "
                f"{prior_from:g}."
            )
        self.network = network(self.image_size, self.image_channels)
        codes = self.network.quantizer.codes
        self.prior = prior(codes, self.network.map_size, self.condition_size)
        self.prior_from = prior_from
        self.code_sampler = code_sampler or CodeSampler()
        if self.code_sampler.guidance != 1 and not (self.condition_size and self.prior.condition_dropout):
            raise ConfigurationError(
                f"guidance {self.code_sampler.guidance:g} compares with what the prior says without a "
                "condition: it needs data with conditions and a condition_dropout above 0 (e.g. 0.1). Set "
                "guidance to 1 to go without."
            )
        self.losses = ImageLosses(losses or {})
        weights = dict(
            zip(_OWN_TERMS, (reconstruction_weight, commitment_weight, prior_weight), strict=True),
        )
        weights |= self.losses.weights([*_OWN_TERMS, *_LOGGED])
        self.objective = Objective(weights, loss_schedules, loss_balance)
        self._at_rest: list[Parameter] = []
        self.code_usage = nn.ModuleDict({f"{stage}_codes": CodeUsage(codes) for stage in _STAGES})

    def check(self) -> None:
        """Make sure that every loss can be computed for these images."""
        self.losses.check(self.image_size, self.image_channels)

    def setup(self, stage: str) -> None:
        """Prepare the weights' layout.

        Raises:
            ConfigurationError: The run has no planned end, of which ``prior_from`` could be a share.
        """
        super().setup(stage)
        if stage == "fit" and self.prior_from is not None:
            self.require_planned_end("model.prior_from")

    def schedules(self) -> dict[str, Schedule]:
        """Return all schedules by the options that they are given with."""
        return {**super().schedules(), **self.objective.schedule_options()}

    def described_networks(self) -> dict[str, tuple[nn.Module, tuple[Tensor, ...]]]:
        """Return autoencoder and prior with the example inputs of one image."""
        codes = torch.zeros(1, self.network.tokens, dtype=torch.int64)
        return {
            "autoencoder": (self.network, (torch.zeros(1, *self.image_shape),)),
            "prior": (self.prior, (codes, torch.zeros(1, self.condition_size))),
        }

    def averaged_tensors(self) -> dict[str, Tensor]:
        """Return what EMA averages: decoder and prior.

        Not the encoder: the codebook belongs to the encoder as it is, not to an average of the past.
        """
        named = super().averaged_tensors()
        return {name: value for name, value in named.items() if not name.startswith("network.encoder.")}

    def _learning(self) -> tuple[bool, bool]:
        """Return whether the autoencoder learns now, and whether the prior does."""
        if self.prior_from is None:
            return True, True
        first = self.progress().fraction < self.prior_from
        return first, not first

    def _terms(
        self, batch: Batch, autoencoder: bool, prior: bool, learn: bool
    ) -> tuple[dict[str, Tensor], dict[str, Tensor | float], Tensor | None, Tensor]:
        """Compute the terms of autoencoder, prior or both; ``learn`` moves the codebook.

        Returns:
            Scalar means by name; the same with further values to log; reconstructions (N, C, H, W), None
            without the autoencoder's terms; and codes (N, T).
        """
        terms: dict[str, Tensor] = {}
        further: dict[str, Tensor] = {}
        image = None
        if autoencoder:
            image, quantised = self.network(batch.image, learn)
            target = batch.image if batch.target is None else batch.target
            mse = mean_squared_error(image, target)  # (N,)
            further = {"mse": mse.mean(), "psnr": peak_signal_to_noise_ratio(mse).mean()}
            terms["reconstruction"] = mse.mean() * self.train_size
            terms["commitment"] = quantised.commitment.mean() * self.train_size
            terms |= self.losses(image, target)
        else:
            with torch.no_grad():
                quantised = self.network.quantize(self.network.encode(batch.image))
        if prior:
            vector = self.condition_vector(batch.condition, len(batch))
            terms["prior"] = self.prior.loss(quantised.codes, vector).mean()
        return terms, {**terms, **further}, image, quantised.codes

    def training_step(self, batch: Batch) -> Tensor:
        """Return the loss of a batch."""
        autoencoder, prior = self._learning()
        terms, values, image, codes = self._terms(batch, autoencoder, prior, learn=autoencoder)
        loss: Tensor
        loss, weights = self.objective(terms, self.progress(), image)
        self._usage("train").update(codes)
        values |= {f"weight/{name}": weight for name, weight in weights.items()}
        self.log_stage("train", {"loss": loss, **values}, len(batch))
        resting = [self.prior] if not prior else [] if autoencoder else [self.network, self.losses]
        self._at_rest = [weight for part in resting for weight in part.parameters() if weight.requires_grad]
        if self.trainer.world_size > 1:
            # Processes that share gradients wait for those of every weight, also of one that rests.
            loss = loss + self.losses.rest() + 0.0 * sum(weight.sum() for weight in self._at_rest)
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Leave what rests as it is: by a gradient of 0, momentum and weight decay would move it."""
        for weight in self._at_rest:
            weight.grad = None

    def _evaluation_step(self, batch: Batch, stage: str) -> None:
        terms, values, _, codes = self._terms(batch, autoencoder=True, prior=True, learn=False)
        self._usage(stage).update(codes)
        self.log_stage(stage, {"loss": self.objective.plain(terms), **values}, len(batch))

    def validation_step(self, batch: Batch) -> None:
        """Log the losses of a batch."""
        self._evaluation_step(batch, "val")

    def test_step(self, batch: Batch) -> None:
        """Log the losses of a batch."""
        self._evaluation_step(batch, "test")

    def _usage(self, stage: str) -> CodeUsage:
        usage = self.code_usage[f"{stage}_codes"]
        assert isinstance(usage, CodeUsage)
        return usage

    def _log_usage(self, stage: str) -> None:
        perplexity, used = self._usage(stage).compute()  # all ranks together
        for name, value in (("perplexity", perplexity), ("code_usage", used)):
            self.log(f"{stage}/{name}", value.to(self.device), sync_dist=True)  # equal on all ranks

    def on_train_epoch_start(self) -> None:
        """Start counting the codes of the epoch."""
        self._usage("train").reset()

    def on_train_epoch_end(self) -> None:
        """Log how much of the codebook was used."""
        self._log_usage("train")

    def on_validation_epoch_start(self) -> None:
        """Start counting the codes of the split."""
        self._usage("val").reset()

    def on_validation_epoch_end(self) -> None:
        """Log how much of the codebook was used, and let the loss balance see the losses."""
        self._log_usage("val")
        self.tell_validation(self.objective)

    def on_test_epoch_start(self) -> None:
        """Start counting the codes of the split."""
        self._usage("test").reset()

    def on_test_epoch_end(self) -> None:
        """Log how much of the codebook was used."""
        self._log_usage("test")

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Build the optimiser; with ``prior_from``, autoencoder and prior each have a whole schedule."""
        if self.prior_from is None:
            return super().configure_optimizers()
        start = self.prior_from
        parts = (self.network.parameters(), self.prior.parameters(), self._loss_parameters())
        rates: list[Callable[[int], float]] = [
            lambda _: self._schedule(share_of(self.progress(), 0, start)),
            lambda _: self._schedule(share_of(self.progress(), start, 1)),
            lambda _: self._schedule(self.progress()),
        ]
        groups = [{"params": [weight for weight in part if weight.requires_grad]} for part in parts]
        if not groups[-1]["params"]:
            groups, rates = groups[:-1], rates[:-1]
        optimizer = self._optimizer(cast(list[Parameter], groups))  # torch also takes groups
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rates)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _loss_parameters(self) -> Iterator[Parameter]:
        """Return what losses and their balance learn, e.g. a variance."""
        yield from self.losses.parameters()
        yield from self.objective.parameters()

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape (T,) of the noise that one image is made of: a number for each code."""
        return (self.network.tokens,)

    def generate(self, condition: Condition, noise: Tensor) -> Tensor:
        """Draw codes by noise (N, T), and decode them; see the base class.

        The nearer the noise is to 0, the likelier the codes; 0 is the likeliest code everywhere.
        """
        vector = self.condition_vector(condition.to(self.device), len(noise))
        codes = self.prior.generate(vector, noise.to(self.device), self.code_sampler)
        return self.network.decode(self.network.look_up(codes))

    def embed(self, batch: Batch) -> Tensor:
        """Return the quantised maps, flattened: (N, code size * T) float32."""
        return self.network.quantize(self.network.encode(batch.image)).vectors.flatten(1)

    def latent_scores(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Return ``perplexity`` and ``code_usage`` of the codebook; see the base class."""
        usage = CodeUsage(self._usage("test").codes).to(self.device)
        for batch in batches:
            usage.update(self.network.quantize(self.network.encode(batch.image)).codes)
        perplexity, used = usage.compute()
        return {"perplexity": float(perplexity), "code_usage": float(used)}

    def decode(self, latents: Tensor, condition: Condition) -> Tensor:
        """Decode maps as ``embed`` gives them, or anything between them: (N, C, H, W) in [0, 1].

        Vectors are quantised first, so a mixture of two images becomes a map of codes.
        """
        vectors = latents.to(self.device).reshape(len(latents), -1, *self.network.map_size)
        return self.network.decode(self.network.quantize(vectors).vectors)

    def reconstruct(self, batch: Batch) -> Tensor:
        """Decode the codes of the images: (N, C, H, W) in [0, 1]."""
        return self.decode(self.embed(batch), batch.condition)


def share_of(progress: Progress, start: float, end: float) -> Progress:
    """Return the progress through the part of a run between two shares of it, both in [0, 1]."""
    done = min(max(progress.fraction - start, 0.0), end - start)
    epoch = progress.epoch * done / progress.fraction if progress.fraction else 0.0
    return Progress(epoch, done / (end - start))
