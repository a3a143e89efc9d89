"""Ways to make images for a condition with a trained generator: from one decoding to the best of many.

A strategy knows a model by its promises alone, and image n depends on its seed and condition only, not
on the batch it is in (to 1/255).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor

from vedute.batch import Batch, Condition
from vedute.errors import ConfigurationError
from vedute.promises import LatentGenerator
from vedute.sampling.rankers import Ranker
from vedute.sampling.score_distribution import ConditionDistribution, around
from vedute.sampling.seeds import seeded_normal

# Streams of noise beside that of the images, which is 0.
_MEMBERS, _CONDITIONS, _ROUNDS = 1_000, 2_000, 3_000


class Strategy(ABC):
    """A way to make images. Call in eval mode, without gradients."""

    def check(self, model: LatentGenerator) -> None:
        """Make sure that the model can do it.

        Raises:
            ConfigurationError: It cannot; the message says what it lacks.
        """
        return

    @abstractmethod
    def generate(self, model: LatentGenerator, condition: Condition, seeds: Tensor) -> Tensor:
        """Make one image per seed.

        Args:
            model: One that passed :meth:`check`.
            condition: N conditions; both fields None for an unconditional model.
            seeds: (N,) int64.

        Returns:
            (N, C, H, W) float32 in [0, 1].
        """


class Direct(Strategy):
    """What the model makes of the wanted condition."""

    def generate(self, model: LatentGenerator, condition: Condition, seeds: Tensor) -> Tensor:
        """Return images; see the base class."""
        return model.sample(condition, seeds)


class Ensemble(Strategy):
    """The mean of what the model makes of several conditions around the wanted one, from one noise.

    What all of them agree on stays; what hangs on the exact condition is smoothed, so images get softer.
    The first condition is the wanted one, the others lie in pairs opposite each other around it.
    """

    def __init__(
        self, members: int = 8, spread: float = 0.5, limits: tuple[Tensor, Tensor] | None = None
    ) -> None:
        """Keep the options.

        Args:
            members: Conditions for each image.
            spread: Deviation around the wanted condition; see ``score_distribution.around``.
            limits: Lowest and highest legal standardised scores, (D,) each; None: any.

        Raises:
            ConfigurationError: Fewer than two members, or a negative spread.
        """
        if members < 2:
            raise ConfigurationError(f"An ensemble needs at least 2 members, got {members}.")
        around("score", spread)  # refuses a negative spread
        self.members = members
        self.spread = spread
        self.limits = limits

    def check(self, model: LatentGenerator) -> None:
        """Refuse models without numbers as conditions."""
        check_vector(model, "ensemble")

    def generate(self, model: LatentGenerator, condition: Condition, seeds: Tensor) -> Tensor:
        """Return images; see the base class."""
        wanted = _vector(condition)
        distribution = around(model.condition_kind, self.spread, self.limits)
        total = model.sample(condition, seeds).float()
        for member in range(1, self.members):
            pair, side = divmod(member - 1, 2)
            noise = seeded_normal(seeds, wanted.shape[1:], wanted.device, _MEMBERS + pair)
            vector = distribution.draw(wanted, -noise if side else noise)
            total = total + model.sample(Condition(vector, condition.image), seeds).float()
        return total / self.members


class Probability(Strategy):
    """Each image for a condition of its own, drawn from a distribution around the wanted one."""

    def __init__(self, distribution: ConditionDistribution) -> None:
        """Draw conditions from ``distribution``."""
        self.distribution = distribution

    def check(self, model: LatentGenerator) -> None:
        """Refuse models without numbers as conditions."""
        check_vector(model, "probability")

    def generate(self, model: LatentGenerator, condition: Condition, seeds: Tensor) -> Tensor:
        """Return images; see the base class."""
        wanted = _vector(condition)
        noise = seeded_normal(seeds, wanted.shape[1:], wanted.device, _CONDITIONS)
        return model.sample(Condition(self.distribution.draw(wanted, noise), condition.image), seeds)


class Refine(Strategy):
    """Encode an image under the wanted condition and decode it again, several times.

    Each round moves the image towards what the autoencoder takes for likely under the condition.
    """

    def __init__(self, rounds: int = 3, noise: float = 0.0) -> None:
        """Keep the options.

        Args:
            rounds: Times that an image is encoded and decoded.
            noise: Share s in [0, 1) of fresh noise in each round's latent vector z: sqrt(1 - s^2) z + s e
                with standard normal e; 0: none.

        Raises:
            ConfigurationError: Out of range.
        """
        if rounds < 1 or not 0 <= noise < 1:
            raise ConfigurationError(
                f"Refining needs at least 1 round and noise in [0, 1), got {rounds} and {noise:g}."
            )
        self.rounds = rounds
        self.noise = noise

    def check(self, model: LatentGenerator) -> None:
        """Refuse models without an encoder, and those that decode the same under any condition."""
        if not model.has_encoder:
            raise ConfigurationError(
                f"The strategy refine encodes images, but {type(model).__name__} has no encoder: choose "
                "another strategy, or a checkpoint of an autoencoder."
            )
        if model.condition_names and not model.decodes_condition:
            raise ConfigurationError(
                "The strategy refine decodes an image under the wanted condition, but "
                f"{type(model).__name__} decodes without conditions: the image would stay as it is. Choose "
                "another strategy."
            )

    def generate(self, model: LatentGenerator, condition: Condition, seeds: Tensor) -> Tensor:
        """Return images; see the base class."""
        image = model.sample(condition, seeds)
        for number in range(self.rounds):
            latents = model.embed(Batch(image, condition)).float()
            if self.noise:
                fresh = seeded_normal(seeds, latents.shape[1:], latents.device, _ROUNDS + number)
                latents = (1 - self.noise**2) ** 0.5 * latents + self.noise * fresh
            image = model.decode(latents, condition)
        return image


class BestOf(Strategy):
    """The best of several candidates, in the eyes of a judge."""

    def __init__(self, candidates: int, ranker: Ranker, of: Strategy | None = None) -> None:
        """Keep the judge.

        Args:
            candidates: Images that are made for each one that is returned.
            ranker: What is best.
            of: How candidates are made; None: directly.

        Raises:
            ConfigurationError: Fewer than two candidates.
        """
        if candidates < 2:
            raise ConfigurationError(f"The best of {candidates} candidates is no choice: give at least 2.")
        self.candidates = candidates
        self.ranker = ranker
        self.of = of or Direct()

    def check(self, model: LatentGenerator) -> None:
        """Refuse what the candidates' strategy refuses."""
        self.of.check(model)

    def generate(self, model: LatentGenerator, condition: Condition, seeds: Tensor) -> Tensor:
        """Return images; see the base class. The first candidate is that of the seed itself."""
        best = self.of.generate(model, condition, seeds)
        value = self.ranker(best, condition)
        for candidate in range(1, self.candidates):
            image = self.of.generate(model, condition, candidate_seeds(seeds, candidate))
            own = self.ranker(image, condition)
            better = own > value
            best = torch.where(better[:, None, None, None], image, best)
            value = torch.where(better, own, value)
        return best


class Truncation(Strategy):
    """Typical images only: noise far from 0 is not used. Less variety, fewer failures.

    Source: the truncation trick, Brock et al. 2019, https://arxiv.org/abs/1809.11096 (redrawn); the
    scaled form after Karras et al. 2019, https://arxiv.org/abs/1812.04948.
    """

    def __init__(self, truncation: float, mode: Literal["scale", "redraw"] = "scale") -> None:
        """Keep the options.

        Args:
            truncation: ``psi`` above 0. Scaled noise has this standard deviation; redrawn noise lies
                between -psi and psi.
            mode: ``scale`` multiplies the noise by psi. ``redraw`` takes it from the normal distribution
                cut off at psi.

        Raises:
            ConfigurationError: Out of range.
        """
        if not truncation > 0 or (mode == "scale" and truncation > 1):
            raise ConfigurationError(
                f"Truncation needs a value above 0, and at most 1 where noise is scaled, got {truncation:g}."
            )
        self.truncation = truncation
        self.mode = mode

    def check(self, model: LatentGenerator) -> None:
        """Refuse models that are not driven by noise of a fixed shape."""
        if model.latent_shape is None:
            raise ConfigurationError(
                f"The strategy truncation changes the noise that an image is made of, but "
                f"{type(model).__name__} is not driven by such noise: choose another strategy."
            )

    def generate(self, model: LatentGenerator, condition: Condition, seeds: Tensor) -> Tensor:
        """Return images; see the base class."""
        assert model.latent_shape is not None
        noise = seeded_normal(seeds, model.latent_shape)
        if self.mode == "scale":
            noise = self.truncation * noise
        else:
            # The place of each value in the normal distribution becomes its place in the one cut off: no
            # drawing until it fits, and near seeds' images stay near.
            edge = torch.special.ndtr(torch.tensor(self.truncation, dtype=torch.float64))
            place = (1 - edge) + torch.special.ndtr(noise.double()) * (2 * edge - 1)
            noise = torch.special.ndtri(place).to(noise.dtype)
        return model.generate(condition, noise.to(model.device))


def candidate_seeds(seeds: Tensor, candidate: int) -> Tensor:
    """Return the seeds (N,) of a candidate: other numbers for each seed and candidate, below 2^40.

    Args:
        seeds: (N,) int64.
        candidate: From 0 on; 0: the seeds themselves.
    """
    if candidate == 0:
        return seeds
    # Steps of different primes, so that candidates of neighbouring seeds are not each other's.
    mixed = (seeds * 2_654_435_761 + candidate * 40_503_000_017) % (2**61 - 1)
    return (mixed ^ (mixed >> 29)) % 2**40


def check_vector(model: LatentGenerator, name: str) -> None:
    """Refuse a model whose conditions are no classes or scores, for the strategy called ``name``.

    Raises:
        ConfigurationError: It has others, or none.
    """
    if model.condition_kind not in ("class", "score") or not model.condition_names:
        raise ConfigurationError(
            f"The strategy {name} varies classes or scores, but the conditions of {type(model).__name__} are "
            f"of the kind '{model.condition_kind}': choose another strategy."
        )


def _vector(condition: Condition) -> Tensor:
    if condition.vector is None:
        raise ValueError("this strategy needs condition vectors")
    return condition.vector
