"""GANs: whose turn it is, penalties, what is augmented, what is refused."""

from __future__ import annotations

import math
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from lightning_modules.gan import GAN
from tests.data.adversarial import (
    Turns,
    note_logged,
    train,
)
from vedute.augment.adaptive import AdaptiveProbability
from vedute.augment.differentiable import Colour, Cutout, Translation
from vedute.batch import Batch, Condition
from vedute.errors import ConfigurationError
from vedute.losses.adversarial import NonSaturating, RelativisticPaired, zero_centred_penalty
from vedute.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from vedute.networks.discriminators import Discriminator
from vedute.networks.residual_gan import ResidualDiscriminator


def batch_norms(*sizes: object) -> Discriminator:
    return DCGANDiscriminator(*sizes, width=4)  # type: ignore[arg-type]


def without_norms(*sizes: object) -> Discriminator:
    return ResidualDiscriminator(*sizes, widths=(8, 8))  # type: ignore[arg-type]


def build(**options: object) -> GAN:
    facts = {"image_size": (16, 16), "image_channels": 3, "condition_kind": "class", "train_size": 40}
    more = {"discriminator": batch_norms, "condition_names": ["coast", "forest"], "augment": []}
    torch.manual_seed(0)
    return GAN(
        network=lambda *sizes: DCGANGenerator(*sizes, noise_size=8, width=4),
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        **{**facts, **more, **options},  # type: ignore[arg-type]
    )


def batches(count: int = 4, size: int = 6) -> list[Batch]:
    torch.manual_seed(1)
    vectors = torch.eye(2)[torch.arange(size) % 2]
    return [Batch(torch.rand(size, 3, 16, 16), Condition(vectors)) for _ in range(count)]


@pytest.mark.parametrize("discriminator", [batch_norms, without_norms])
def test_gradients_reach_the_network_whose_turn_it_is(discriminator: type[Discriminator]) -> None:
    turns = Turns()
    train(build(discriminator=discriminator, penalty_every=2, fake_penalty_weight=0.5), batches(3), turns)
    assert turns.turns == [["discriminator", "network"]] * 3
    assert turns.moved == [{"discriminator", "network"}] * 3


def test_the_generator_waits_for_the_steps_of_the_discriminator() -> None:
    turns, module = Turns(), build(discriminator_steps=3)
    trainer = train(module, batches(5), turns, epochs=2)
    alone, both = ["discriminator"], ["discriminator", "network"]
    assert turns.turns == [alone, alone, both] * 3 + [alone], "counted on over epochs"
    assert turns.moved == [set(turn) for turn in turns.turns]
    assert trainer.global_step == 13


def test_weights_change_by_no_more_than_clipped_gradients_allow() -> None:
    module = build(gradient_clip=1e-3)
    before = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    train(module, batches(1))
    for network in ("network", "discriminator"):
        changes = [
            (weight - before[name]).flatten()
            for name, weight in module.named_parameters()
            if name.startswith(network)
        ]
        norm = torch.cat(changes).norm()
        assert 0 < norm <= 0.1 * 1e-3 * 1.001, "the rate is 0.1"


def test_batch_norms_see_real_and_generated_images_apart() -> None:
    for discriminator, expected in ((batch_norms, [6, 6]), (without_norms, [12])):
        module, seen = build(discriminator=discriminator), []
        note_logged(module)
        module.discriminator.register_forward_hook(
            lambda _, inputs, out, kept=seen: kept.append(len(inputs[0]))
        )
        module._discriminator_loss(module._generated(batches(1)[0]), False)
        assert seen == expected


@pytest.mark.parametrize(("real", "fake"), [(2.0, 0.0), (0.0, 3.0), (2.0, 3.0)])
def test_a_penalty_has_the_weight_of_the_batches_that_it_stands_for(real: float, fake: float) -> None:
    module = build(penalty_weight=real, fake_penalty_weight=fake, penalty_every=5)
    logged, generated = note_logged(module), module._generated(batches(1)[0])
    plain, penalised = (module._discriminator_loss(generated, due) for due in (False, True))

    def half_squared(image: Tensor) -> Tensor:
        def judge(changed: Tensor) -> Tensor:
            return module.discriminator(changed, generated.vector).logits  # type: ignore[no-any-return]

        return 0.5 * zero_centred_penalty(judge, image).mean()

    expected = 5 * (real * half_squared(generated.real) + fake * half_squared(generated.fake))
    torch.testing.assert_close(penalised - plain, expected, rtol=1e-4, atol=1e-5)
    assert not {"penalty", "fake_penalty"} & logged[0].keys()
    assert {"penalty", "fake_penalty"} & logged[1].keys() == {
        name for name, weight in (("penalty", real), ("fake_penalty", fake)) if weight
    }


def test_penalties_are_computed_every_so_many_batches() -> None:
    module = build(penalty_every=3, discriminator_steps=2)
    logged = note_logged(module)
    train(module, batches(4), epochs=2)
    due = ["penalty" in values for values in logged if "discriminator_loss" in values]
    assert due == [True, False, False, True, False, False, True, False], "counted on over epochs"


def test_few_images_are_augmented_unless_asked_otherwise() -> None:
    kinds = [type(policy) for policy in build(augment=None, train_size=19_999).augment.policies]
    assert kinds == [Colour, Translation, Cutout]
    assert not build(augment=None, train_size=20_000).augment.policies
    assert not build(augment=[], train_size=10).augment.policies
    assert len(build(augment=[Cutout()], train_size=10**6).augment.policies) == 1


def test_validation_judges_images_as_they_are() -> None:
    module = build(augment=[Cutout(), Colour()], adversarial=RelativisticPaired())
    generated = module._generated(batches(1)[0])
    assert not torch.equal(module.change(generated.real), generated.real)
    for training in (True, False):
        module.train(training)
        with patch.object(module.discriminator, "forward", wraps=module.discriminator.forward) as judged:
            module.judge(generated)
        seen = [call.args[0] for call in judged.call_args_list]
        assert torch.equal(seen[0], generated.real) != training
        assert torch.equal(seen[1], generated.fake) != training


def test_real_images_are_judged_for_the_generator_only_where_they_are_compared() -> None:
    for adversarial, calls in ((RelativisticPaired(), 2), (NonSaturating(), 1)):
        module = build(adversarial=adversarial).train()
        generated = module._generated(batches(1)[0])
        with patch.object(module.discriminator, "forward", wraps=module.discriminator.forward) as judged:
            truth, opinion = module.judge(generated)
            assert judged.call_count == calls and (truth is None) == (calls == 1)
        assert module.adversarial_term(truth, opinion).isfinite()


@pytest.mark.parametrize("sets", [1, 3])
def test_the_probability_counts_each_real_image_once(sets: int) -> None:
    adaptive = AdaptiveProbability(target=0.0, images=1000, every=1, start=0.5)
    module = build(augment=[Colour()], adaptive=adaptive, adversarial=RelativisticPaired())
    note_logged(module)
    generated = module._generated(batches(1)[0])
    generated.fake = torch.rand(sets * 6, 3, 16, 16)
    with patch.object(module._adversarial, "margins", side_effect=lambda real, fake: (fake * 0 + 1, fake)):
        module._discriminator_loss(generated, False)
    assert round(float(adaptive.probability) * 1000) == 506


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"penalty_weight": -1.0}, "penalty_weight"),
        ({"fake_penalty_weight": math.nan}, "fake_penalty_weight"),
        ({"penalty_every": 0}, "penalty_every"),
        ({"discriminator_steps": 0}, "discriminator_steps"),
        ({"gradient_clip": -1.0}, "gradient_clip"),
        ({"adaptive": AdaptiveProbability()}, "adaptive.*augment"),
        ({"condition_kind": "image", "condition_names": [], "condition_channels": 1}, "masks"),
        ({"image_size": (18, 18)}, "18"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build(**options)
