"""How long a step of generator and discriminator takes: this package's way against a plain float32 loop.

    python benchmarks/gan_step.py --model dcgan
    python benchmarks/gan_step.py --model pix2pix --image_size 256 --batch_size 1
    python benchmarks/gan_step.py --model esrgan --batch_size 8

'package' is what ``fit`` does: the module of the shipped configuration under Lightning's Trainer in the
precision that suits this machine, with channels-last weights and the configuration's optimisers (fused).
'plain' is a hand-written loop without a thought about speed, on copies of the same networks: float32,
channels first, Adam as it comes. Both have the same terms: no augmentation, no penalties, ESRGAN in its
second phase. All see the same images, batch for batch. On a machine with a GPU both run there.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable

import torch
from interleaved import DEVICE, measure, report
from shipped_models import ADVERSARIAL, build
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Adam

from lightning_modules.adversarial import AdversarialModule
from lightning_modules.esrgan import ESRGAN
from lightning_modules.gan import GAN
from lightning_modules.translation import TranslationModule
from vedute.batch import Batch
from vedute.losses.adversarial import AdversarialLoss

RATE = 2e-4


def hand_written_step(module: AdversarialModule) -> Callable[[Batch], Tensor]:
    """Return what trains copies of a module's two networks by one batch."""
    generator = copy.deepcopy(module.network).to(DEVICE)
    discriminator = copy.deepcopy(module.discriminator).to(DEVICE)
    assert isinstance(generator, torch.nn.Module)
    by_generator = Adam(generator.parameters(), lr=RATE, betas=(0.5, 0.999))
    by_discriminator = Adam(discriminator.parameters(), lr=RATE, betas=(0.5, 0.999))
    loss_of: AdversarialLoss = module._adversarial
    pixels, judged = 0.0, 1.0
    if isinstance(module, TranslationModule):
        pixels, judged = module.objective.weights["l1"], module.objective.weights["adversarial"]

    def step(batch: Batch) -> Tensor:
        image = batch.image.contiguous()
        vector = module.condition_vector(batch.condition, len(image))
        if isinstance(module, TranslationModule):
            source = module.condition_of(batch).image
            assert source is not None
            fake = generator(source.contiguous(), vector)
            beside = [source] if module.sees_condition else []
        else:
            assert isinstance(module, GAN)
            noise = torch.randn(len(image), *module.latent_shape, device=DEVICE)
            fake, beside = generator(noise, vector), []
        real_seen, fake_seen = torch.cat([image, *beside], 1), torch.cat([fake, *beside], 1)
        real = discriminator(real_seen, vector).logits
        loss = loss_of.discriminator(real, discriminator(fake_seen.detach(), vector).logits).mean()
        by_discriminator.zero_grad()
        loss.backward()
        by_discriminator.step()
        with torch.no_grad():
            real = discriminator(real_seen, vector).logits if loss_of.compares else real
        total: Tensor = judged * loss_of.generator(real, discriminator(fake_seen, vector).logits).mean()
        if pixels:
            total = total + pixels * F.l1_loss(fake, image)
        by_generator.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        by_generator.step()
        return total.detach()

    return step


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=ADVERSARIAL, default="dcgan", help="default: dcgan")
    parser.add_argument("--rounds", type=int, default=20, help="measured steps of each loop (default: 20)")
    parser.add_argument("--batch_size", type=int, default=32, help="images a batch (default: 32)")
    parser.add_argument("--image_size", type=int, help="pixels a side (default: the configuration's)")
    options = parser.parse_args()
    torch.manual_seed(0)
    model = ADVERSARIAL[options.model]
    changes: dict[str, object] = {"augment": [], "penalty_weight": 0.0, "fake_penalty_weight": 0.0}
    if options.model == "esrgan":
        changes["loss_schedules"] = None
    module = build(model, options.image_size, **changes)
    assert isinstance(module, AdversarialModule)
    assert isinstance(module, GAN | ESRGAN | TranslationModule)
    loops = {"plain": hand_written_step(module)}
    report(
        model.config, module, measure(module, loops, options.rounds, options.batch_size), options.batch_size
    )


if __name__ == "__main__":
    main()
