"""How long a training step takes: this package's way against a plain float32 PyTorch loop.

    python benchmarks/step.py            the two, interleaved in one run
    python benchmarks/step.py --parts    also what each part of the difference brings alone

The network is the reference's street-view VAE (14,186,531 weights). 'package' is what ``fit``
does: the CVAE module under Lightning's Trainer in the precision that suits this machine, with
channels-last weights and a fused optimiser. 'plain' is the same function written down in
PyTorch without a thought about speed. Both see the same images, batch for batch.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam
from torch.utils.data import DataLoader

from lightning_modules.cvae import CVAE
from vedute.batch import Batch, Condition
from vedute.hardware import best_precision
from vedute.networks.street_view import StreetViewVAE

IMAGE_SIZE, COUNTRIES, WEIGHTS = (128, 128), 84, 14_186_531


class PlainVAE(nn.Module):
    """The street-view network as one would write it down; modules in the order of StreetViewVAE's."""

    def __init__(self) -> None:
        """Build it at 128x128 with 84 countries."""
        super().__init__()
        self.label = nn.Linear(COUNTRIES, 256)
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 32), (32, 64), (64, 128), (128, 256)):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
        self.encoder = nn.Sequential(*layers)
        self.hidden = nn.Linear(256 * 8 * 8 + 256, 256)
        self.mu = nn.Linear(256, 256)
        self.logvar = nn.Linear(256, 256)
        self.expand = nn.Linear(512, 256 * 8 * 8)
        layers = []
        for inputs, outputs, stride in ((256, 256, 1), (256, 128, 2), (128, 64, 2), (64, 32, 2)):
            layers += [
                nn.ConvTranspose2d(inputs, outputs, 3, stride, 1, stride - 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.LeakyReLU(0.2),
            ]
        self.decoder = nn.Sequential(*layers, nn.ConvTranspose2d(32, 3, 3, 2, 1, 1))

    def forward(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return reconstruction, mu and logvar of (N, 3, 128, 128) images and (N, 84) conditions."""
        label = F.leaky_relu(self.label(condition), 0.2)
        h = F.relu(self.hidden(torch.cat([self.encoder(image).flatten(1), label], 1)))
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        h = F.leaky_relu(self.expand(torch.cat([z, label], 1)), 0.2)
        return torch.sigmoid(self.decoder(h.view(-1, 256, 8, 8))), mu, logvar


def hand_written_step(
    reference: StreetViewVAE, channels_last: bool = False, bfloat16: bool = False, fused: bool = False
) -> tuple[PlainVAE, Callable[[Batch], Tensor]]:
    """Return the plain network with the reference's weights, and what trains it by one batch."""
    network = PlainVAE()
    state = reference.state_dict().values()
    network.load_state_dict(dict(zip(network.state_dict(), state, strict=True)))
    if channels_last:
        network.to(memory_format=torch.channels_last)
    optimizer = (
        Adam(network.parameters(), lr=1e-4, fused=True) if fused else Adam(network.parameters(), lr=1e-4)
    )
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def step(batch: Batch) -> Tensor:
        assert batch.condition.vector is not None
        image = batch.image.contiguous(memory_format=layout)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            output, mu, logvar = network(image, batch.condition.vector)
        kl = 0.5 * (mu.float() ** 2 + logvar.float().exp() - logvar.float() - 1).sum()
        loss = F.mse_loss(output.float(), image, reduction="sum") + kl
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        detached: Tensor = loss.detach()
        return detached

    return network, step


class Images:
    """As many equal-sized batches of random images as asked for, all in memory."""

    def __init__(self, batches: int, batch_size: int) -> None:
        """Draw them; four different ones that repeat."""
        generator = torch.Generator().manual_seed(0)
        self.batches = batches
        self.kept = []
        for _ in range(4):
            image = torch.rand(batch_size, 3, *IMAGE_SIZE, generator=generator)
            label = torch.randint(COUNTRIES, (batch_size,), generator=generator)
            vector = F.one_hot(label, COUNTRIES).float()
            # As the datamodules deliver them: channels last.
            self.kept.append(Batch(image.contiguous(memory_format=torch.channels_last), Condition(vector)))

    def __len__(self) -> int:
        """Return the number of batches."""
        return self.batches

    def __getitem__(self, position: int) -> Batch:
        """Return a batch."""
        return self.kept[position % len(self.kept)]


class Interleaved(Callback):
    """Times the Trainer's steps, and before each one a step of every hand-written loop."""

    def __init__(self, others: dict[str, Callable[[Batch], Tensor]], warm_up: int) -> None:
        """Keep the loops to compare with and the number of rounds to leave out."""
        self.others = others
        self.warm_up = warm_up
        self.seconds: dict[str, list[float]] = {name: [] for name in (*others, "package")}
        self._started = 0.0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Run and time the other loops on the same batch, then start the clock."""
        with torch.enable_grad():
            for name, step in self.others.items():
                started = time.perf_counter()
                step(batch)
                self.seconds[name].append(time.perf_counter() - started)
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        """Stop the clock."""
        self.seconds["package"].append(time.perf_counter() - self._started)

    def median(self, name: str) -> float:
        """Return the median time of a loop's step, seconds."""
        return statistics.median(self.seconds[name][self.warm_up :])

    def ratio(self, name: str, other: str) -> float:
        """Return how often a step of ``name`` fits into one of ``other``: the median over rounds."""
        pairs = zip(self.seconds[other], self.seconds[name], strict=True)
        return statistics.median([a / b for a, b in pairs][self.warm_up :])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20, help="measured steps of each loop (default: 20)")
    parser.add_argument("--batch_size", type=int, default=64, help="images a batch (default: 64)")
    parser.add_argument("--parts", action="store_true", help="also measure each part alone")
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")

    torch.manual_seed(0)
    train_size = 1000
    module = CVAE(
        IMAGE_SIZE,
        3,
        "class",
        [f"country {number}" for number in range(COUNTRIES)],
        train_size,
        network=StreetViewVAE,
        optimizer=partial(Adam, lr=1e-4, fused=True),
        # CVAE's term is the mean squared error times train_size; the reference sums over pixels.
        reconstruction_weight=3 * IMAGE_SIZE[0] * IMAGE_SIZE[1] / train_size,
    )
    reference = module.network
    assert isinstance(reference, StreetViewVAE)
    assert sum(weights.numel() for weights in reference.parameters()) == WEIGHTS
    plain, step = hand_written_step(reference)
    check_equal(plain, reference)
    loops = {"plain": step}
    if options.parts:
        loops["plain + channels last"] = hand_written_step(reference, channels_last=True)[1]
        loops["plain + bfloat16 autocast"] = hand_written_step(reference, bfloat16=True)[1]
        loops["plain + fused Adam"] = hand_written_step(reference, fused=True)[1]
        loops["plain + all three"] = hand_written_step(reference, True, True, True)[1]

    warm_up = 3
    timing = Interleaved(loops, warm_up)
    precision = best_precision("cpu")
    trainer = Trainer(
        accelerator="cpu",
        max_steps=options.rounds + warm_up,
        precision=precision,
        callbacks=[timing],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    images = Images(options.rounds + warm_up, options.batch_size)
    trainer.fit(module, DataLoader(images, batch_size=None, shuffle=False))  # type: ignore[arg-type]

    print(f"{WEIGHTS:,} weights, batch {options.batch_size}, {torch.get_num_threads()} threads, {precision}")
    for name in timing.seconds:
        milliseconds = 1000 * timing.median(name)
        print(f"{name:<28}{milliseconds:8.0f} ms   {timing.ratio(name, 'plain'):5.2f} x as fast as plain")


def check_equal(plain: PlainVAE, reference: StreetViewVAE) -> None:
    """Check that the plain network computes the same function, with the same random draw."""
    image, vector = torch.rand(2, 3, *IMAGE_SIZE), torch.eye(COUNTRIES)[:2]
    with torch.no_grad():
        torch.manual_seed(1)
        reconstruction, _, mu, logvar = reference.eval()(image, vector)
        torch.manual_seed(1)
        theirs = plain.eval()(image, vector)
    reference.train()
    plain.train()
    for one, other in zip((reconstruction, mu, logvar), theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


if __name__ == "__main__":
    main()
