"""Small classifiers that a metric trains itself: on features, or on images.

Each starts from its seed alone and uses no other random numbers. On a CPU the same rows in the same order
give the same answers, bit for bit with the same number of threads. Here: training and answering. Not
here: who is told from whom (``vedute.metrics.two_sample``, ``vedute.metrics.classification_score``).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vedute.metrics.features import resize
from vedute.networks.classifiers import ResidualClassifier

Advance = Callable[[int], None]
"""Told how many rows were used for training since it was last told."""

Answer = Callable[[Tensor], Tensor]
"""From rows (n, ...) to logits (n, K)."""

_BLOCK = 256  # rows that are answered at a time


def silent(rows: int) -> None:
    """Tell nobody."""


class Learner(ABC):
    """A kind of classifier, and how it is trained."""

    dtype: torch.dtype
    """Of the rows: float32 for features (N, F), uint8 for images (N, C, H, W)."""

    @abstractmethod
    def fit(self, rows: Tensor, labels: Tensor, classes: int, seed: int, advance: Advance = silent) -> Answer:
        """Train on all rows.

        Args:
            rows: (N, ...), N at least 2; computed with on their device.
            labels: (N,) int64 in [0, K).
            classes: Number K of classes.
            seed: Of all choices.
            advance: Told of progress, ``cost(N)`` in total.
        """

    @abstractmethod
    def cost(self, rows: int) -> int:
        """Return how many rows training goes through: rows times epochs."""


class LogisticRegression(Learner):
    """A linear classifier with the best of five penalties, found exactly: quick, and without chance.

    Standardises the features by the training rows. A quarter of the training rows, held out, chooses the
    penalty by its log loss; then all rows are used. Needs 16 * N * F bytes.
    """

    dtype = torch.float32

    def __init__(self, penalties: tuple[float, ...] = (10.0, 1.0, 0.1, 0.01, 0.001)) -> None:
        """Choose what is tried.

        Args:
            penalties: Factors of half the squared weights beside the mean log loss, falling.
        """
        self.penalties = penalties

    def cost(self, rows: int) -> int:
        """Return the rows of each penalty's solution, and of the last."""
        return rows * (len(self.penalties) + 1)

    def fit(self, rows: Tensor, labels: Tensor, classes: int, seed: int, advance: Advance = silent) -> Answer:
        """Train on rows (N, F); see :class:`Learner`."""
        with _training():
            rows, labels = rows.detach().clone().double(), labels.detach().clone()
            mean, deviation = rows.mean(dim=0), rows.std(dim=0, unbiased=False)
            scale = torch.where(deviation > 1e-6 * mean.abs().clamp_min(1e-6), deviation, torch.inf)
            inputs = F.pad((rows - mean) / scale, (0, 1), value=1.0)  # (N, F + 1): a column for the bias
            order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).to(rows.device)
            check, train = order[: len(rows) // 4], order[len(rows) // 4 :]
            weight = inputs.new_zeros(inputs.shape[1], classes)
            best, found = math.inf, 0
            mine, right = inputs[train], labels[train]
            for number, penalty in enumerate(self.penalties):
                weight = _solve(mine, right, weight, penalty, 1e-5)  # begins at the last one
                loss = float(F.cross_entropy(inputs[check] @ weight, labels[check])) if len(check) else 0.0
                if loss < best:
                    best, found = loss, number
                if number == found + 2:  # the smaller the penalty, the slower the solution
                    advance(len(rows) * (len(self.penalties) - number))
                    break
                advance(len(rows))
            weight = _solve(inputs, labels, torch.zeros_like(weight), self.penalties[found], 1e-8)
            advance(len(rows))

        def answer(given: Tensor) -> Tensor:
            return F.pad((given.double() - mean) / scale, (0, 1), value=1.0) @ weight

        return answer


def _solve(inputs: Tensor, labels: Tensor, start: Tensor, penalty: float, tolerance: float) -> Tensor:
    """Return the (F + 1, K) weights that make log loss and penalty least; the bias, last, is free."""
    weight = start.clone().requires_grad_()
    solver = torch.optim.LBFGS(
        [weight],
        max_iter=200,
        tolerance_grad=tolerance,
        tolerance_change=1e-3 * tolerance,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        solver.zero_grad()
        value = (
            F.cross_entropy(inputs @ weight, labels)
            + penalty / 2 * weight[:-1].square().sum()
            + 1e-6 * weight[-1].square().sum()  # what all classes share would have no one solution
        )
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(loss)  # type: ignore[no-untyped-call]
    return weight.detach()


class SmallPerceptron(Learner):
    """One hidden layer on standardised features: sees what no linear classifier can."""

    dtype = torch.float32

    def __init__(self, hidden: int = 128, epochs: int = 30) -> None:
        """Choose its width and how often it sees each row."""
        self.hidden = hidden
        self.epochs = epochs

    def cost(self, rows: int) -> int:
        """Return rows times epochs."""
        return rows * self.epochs

    def fit(self, rows: Tensor, labels: Tensor, classes: int, seed: int, advance: Advance = silent) -> Answer:
        """Train on rows (N, F); see :class:`Learner`."""
        with _training():
            rows, labels = rows.detach().clone().float(), labels.detach().clone()
            mean, deviation = rows.mean(dim=0), rows.std(dim=0, unbiased=False)
            scale = torch.where(deviation > 1e-6 * mean.abs().clamp_min(1e-6), deviation, torch.inf)
            with _seeded(seed):
                network = nn.Sequential(
                    nn.Linear(rows.shape[1], self.hidden), nn.SiLU(), nn.Linear(self.hidden, classes)
                ).to(rows.device)
            inputs = (rows - mean) / scale
            _train(network, lambda part, _: inputs[part], labels, self.epochs, 1e-3, 0.1, seed, advance)
        return lambda given: _answered(network, (given.float() - mean) / scale)


class SmallNetwork(Learner):
    """A small residual network on images: three stages of 24, 48 and 96 channels, 0.25M weights.

    Larger images are shrunk, so that the cost of an image is bounded: what only shows at full size is not
    seen. Shifts them by up to a sixteenth, and mirrors them where that is allowed.
    """

    dtype = torch.uint8

    def __init__(
        self,
        epochs: int = 15,
        longest_side: int = 64,
        mirror: bool = True,
        widths: tuple[int, ...] = (24, 48, 96),
    ) -> None:
        """Choose what it costs.

        Args:
            epochs: How often it sees each image.
            longest_side: Pixels; images with a longer side are shrunk to it.
            mirror: Whether half the images are mirrored left to right; not for digits or text.
            widths: Channels of each stage; fewer stages where an image has fewer pixels.
        """
        self.epochs = epochs
        self.longest_side = longest_side
        self.mirror = mirror
        self.widths = widths

    def cost(self, rows: int) -> int:
        """Return images times epochs."""
        return rows * self.epochs

    def fit(self, rows: Tensor, labels: Tensor, classes: int, seed: int, advance: Advance = silent) -> Answer:
        """Train on images (N, C, H, W) uint8; see :class:`Learner`.

        Raises:
            ValueError: An image has a side of a single pixel.
        """
        with _training():
            images, labels = self._shrunk(rows.detach().clone()), labels.detach().clone()
            height, width = images.shape[2:]
            if min(height, width) < 2:
                raise ValueError(f"SmallNetwork needs images of 2 pixels a side, got {height}x{width}")
            stages = min(len(self.widths), int(math.log2(min(height, width))))
            with _seeded(seed):
                network = ResidualClassifier(
                    (height, width), images.shape[1], classes, widths=self.widths[:stages]
                )
            network.to(images.device).to(memory_format=torch.channels_last)

            def inputs(part: Tensor, generator: torch.Generator) -> Tensor:
                return _moved(images[part].float() / 255, generator, self.mirror)

            _train(network, inputs, labels, self.epochs, 3e-3, 0.05, seed, advance)
            _measure_norms(network, images)
        return lambda given: _answered(network, self._shrunk(given))

    def _shrunk(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        factor = self.longest_side / max(height, width)
        if factor >= 1:
            return images
        size = (max(1, round(height * factor)), max(1, round(width * factor)))
        parts = [
            resize(part.float() / 255, size).mul(255).round().byte() for part in torch.split(images, _BLOCK)
        ]
        return torch.cat(parts)


def _moved(image: Tensor, generator: torch.Generator, mirror: bool) -> Tensor:
    """Shift a batch (n, C, H, W) as a whole, its edges mirrored, and mirror each image or not."""
    height, width = image.shape[2:]
    reach = max(1, min(height, width) // 16)
    down, right = torch.randint(0, 2 * reach + 1, (2,), generator=generator).tolist()
    padded = F.pad(image, (reach,) * 4, mode="reflect")
    moved = padded[:, :, down : down + height, right : right + width]
    if mirror:
        chosen = torch.rand(len(image), 1, 1, 1, generator=generator).to(image.device) < 0.5
        moved = torch.where(chosen, moved.flip(3), moved)
    return moved.contiguous(memory_format=torch.channels_last)


def _train(
    network: nn.Module,
    inputs: Callable[[Tensor, torch.Generator], Tensor],
    labels: Tensor,
    epochs: int,
    rate: float,
    decay: float,
    seed: int,
    advance: Advance,
) -> None:
    """Train with AdamW; the rate rises for a tenth of the steps and falls to zero."""
    count = len(labels)
    size = min(count, 64, max(8, count // 16))  # few rows: smaller batches, so that there are steps
    each = count // size  # what is left over comes in another epoch
    total = max(1, epochs * each)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=decay)
    generator = torch.Generator().manual_seed(seed)
    network.train()
    for step in range(total):
        if step % each == 0:
            order = torch.randperm(count, generator=generator).to(labels.device)
        done = (step + 1) / (total + 1)
        optimizer.param_groups[0]["lr"] = rate * min(done / 0.1, 0.5 + 0.5 * math.cos(math.pi * done))
        part = order[step % each * size :][:size]
        optimizer.zero_grad()
        F.cross_entropy(network(inputs(part, generator)), labels[part]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        advance(count * (step + 1) // each - count * step // each)
    network.eval().requires_grad_(False)


def _measure_norms(network: nn.Module, images: Tensor) -> None:
    """Take the statistics of batch norms over all images: running ones lag behind so few steps."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over batches
        norm.train()
    with torch.no_grad():
        for part in torch.tensor_split(images, math.ceil(len(images) / _BLOCK)):  # nearly equal parts
            network(part.float() / 255)
    network.eval()


def _answered(network: nn.Module, rows: Tensor) -> Tensor:
    with torch.inference_mode(False), torch.no_grad(), torch.autocast(rows.device.type, enabled=False):
        parts = torch.split(rows.detach().clone(), _BLOCK)
        return torch.cat(
            [network(part.float() / 255 if part.dtype == torch.uint8 else part) for part in parts]
        )


@contextmanager
def _training() -> Iterator[None]:
    """Allow gradients, in full precision, wherever a metric is computed."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False):
        if not torch.cuda.is_available():
            yield
            return
        with torch.autocast("cuda", enabled=False):
            yield


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw first weights from a seed, leaving torch's generator as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
