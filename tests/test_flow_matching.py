"""Flow matching as a model: what is trained and what is generated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lightning_modules.flow_matching import FlowMatching
from lightning_modules.mean_flow import MeanFlow
from tests.data.flows import batch, flow
from vedute.augment.conditioned import ConditionedAugmentation
from vedute.batch import Batch, Condition
from vedute.errors import ConfigurationError
from vedute.sampling.flow_sampler import FlowSampler
from vedute.sampling.likelihood import Integration
from vedute.sampling.seeds import seeded_normal

# Training


def test_the_loss_is_that_of_the_straight_path() -> None:
    model, given = flow(condition_dropout=0.0), batch()
    noise, t = torch.randn(6, 3, 8, 16), torch.rand(6)
    with torch.no_grad():
        losses = model._losses(model._ends(given, noise, None), t)
        data, side = 2 * given.image - 1, t[:, None, None, None]
        told = model._condition(given.condition, 6)
        expected = model.network((1 - side) * noise + side * data, t, told) - (data - noise)
    assert torch.allclose(losses, expected.square().mean(dim=(1, 2, 3)), atol=1e-5)


def test_a_network_that_predicts_data_has_the_velocity_towards_them() -> None:
    model = flow(prediction="data", condition_dropout=0.0)
    x, t = torch.randn(4, 3, 8, 16), torch.tensor([0.0, 0.3, 0.6, 0.9])
    told = model._condition(batch(4).condition, 4)
    with torch.no_grad():
        velocity, data = model._velocity(x, t, told), model.network(x, t, told)
    arrived = x + (1 - t)[:, None, None, None] * velocity
    assert torch.allclose(arrived, data, atol=1e-4), "a step to the end arrives at the data"


def test_conditions_are_left_out_image_by_image() -> None:
    model = flow(condition_dropout=0.25)
    torch.manual_seed(0)
    kept = torch.stack([model._kept(64) for _ in range(100)])  # type: ignore[misc]
    assert float(kept.float().mean()) == pytest.approx(0.75, abs=0.02)
    assert int((kept.float().std(dim=1) > 0).sum()) > 0, "within a batch, not batch by batch"
    assert flow("none")._kept(8) is None and flow(condition_dropout=0.0)._kept(8) is None


def test_what_the_network_is_told_changes_images_only_where_it_is_kept() -> None:
    model = flow()
    x, t = torch.randn(2, 3, 8, 16), torch.full((2,), 0.5)
    one, other = Condition(torch.eye(3)[[0, 0]]), Condition(torch.eye(3)[[1, 1]])
    with torch.no_grad():
        assert not torch.allclose(model._field(one, 2)(x, t), model._field(other, 2)(x, t))
        assert torch.equal(model._field(one, 2, kept=False)(x, t), model._field(other, 2, kept=False)(x, t))


def test_validation_is_the_same_each_time_and_whatever_the_batches(tmp_path: Path) -> None:
    model, given = flow(), batch()
    logged: dict[str, list[Tensor]] = {}

    def log(stage: str, values: dict[str, Tensor], size: int) -> None:
        for name, value in values.items():
            logged.setdefault(name, []).append(value * size)

    model.log_stage = log  # type: ignore[assignment]
    with torch.no_grad():
        model.validation_step(given)
        for rows in (slice(0, 2), slice(2, 6)):
            model.validation_step(given[rows])
    whole, *parts = logged["loss"]
    assert float(whole) == pytest.approx(float(sum(parts)), rel=1e-5)


# Sampling


def test_an_image_depends_on_its_seed_and_condition_alone() -> None:
    model = flow(sampler=FlowSampler(steps=3, guidance=2.0))
    seeds, condition = torch.tensor([3, 14, 15]), Condition(torch.eye(3))
    with torch.no_grad():
        together = model.sample(condition, seeds)
        alone = torch.cat([model.sample(condition[[row]], seeds[[row]]) for row in range(3)])
        noise = seeded_normal(seeds, model.latent_shape)
        assert torch.allclose(model.generate(condition, noise), together, atol=1e-6)
    assert together.shape == (3, 3, 8, 16) and 0 <= float(together.min()) <= float(together.max()) <= 1
    assert torch.allclose(together, alone, atol=1e-5)


def test_renewed_noise_belongs_to_the_seed_too() -> None:
    model = flow(sampler=FlowSampler(steps=4, noise_scale=0.5))
    seeds, condition = torch.tensor([3, 14]), Condition(torch.eye(3)[:2])
    with torch.no_grad():
        first = model.sample(condition, seeds)
        assert torch.allclose(model.sample(condition, seeds), first, atol=1e-6)
        assert torch.allclose(model.sample(condition[[1]], seeds[[1]]), first[[1]], atol=1e-5)
        noise = seeded_normal(seeds, model.latent_shape)
        made = model.generate(condition, noise)
        assert torch.allclose(model.generate(condition[[1]], noise[[1]]), made[[1]], atol=1e-5)
        assert not torch.allclose(made[0], made[1])


def test_guidance_one_is_the_condition_and_zero_is_none() -> None:
    model = flow(sampler=FlowSampler(steps=3))
    condition, noise = Condition(torch.eye(3)), torch.randn(3, 3, 8, 16)

    def made(guidance: float, given: Condition = condition) -> Tensor:
        model.set_sampler(replace(model.sampler, guidance=guidance))
        with torch.no_grad():
            return model.generate(given, noise)

    plain = made(1.0)
    without = made(0.0)
    assert torch.allclose(without, made(0.0, condition[[1, 2, 0]])), "the condition counts for nothing"
    assert not torch.allclose(plain, without, atol=1e-4)
    assert (made(2.0) - plain).abs().max() > 1e-3


def test_a_guide_is_another_model() -> None:
    model, guide = flow(sampler=FlowSampler(steps=2, guidance=2.0)), flow()
    condition, noise = Condition(torch.eye(3)), torch.randn(3, 3, 8, 16)
    with torch.no_grad():
        model.set_sampler(model.sampler, model)
        itself = model.generate(condition, noise)
        model.set_sampler(replace(model.sampler, guidance=1.0))
        assert torch.allclose(itself, model.generate(condition, noise), atol=1e-5), (
            "away from itself: nowhere"
        )
        list(guide.network.parameters())[-2].mul_(3)
        model.set_sampler(replace(model.sampler, guidance=2.0), guide)
        assert not torch.allclose(itself, model.generate(condition, noise), atol=1e-4)
    assert not any("_guide" in name for name in model.state_dict())
    for other, said in (
        (flow("none"), "conditions none instead of red, green, blue"),
        (flow(image_size=(16, 16)), r"images \(3, 16, 16\) instead of \(3, 8, 16\)"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            model.set_sampler(model.sampler, other)


def test_guidance_without_dropout_is_told_to_do_nothing(caplog: pytest.LogCaptureFixture) -> None:
    for model in (flow(condition_dropout=0.0), flow("none")):
        caplog.clear()
        model.set_sampler(FlowSampler(steps=2, guidance=3.0))
        assert "guidance 3 does nothing" in caplog.text and model.sampler.guidance == 1
        condition = Condition() if model.condition_kind == "none" else Condition(torch.eye(3)[:1])
        with torch.no_grad():
            assert model.generate(condition, torch.randn(1, 3, 8, 16)).isfinite().all()
    caplog.clear()
    flow().set_sampler(FlowSampler(guidance=3.0))
    assert not caplog.text


@pytest.mark.parametrize("module", [FlowMatching, MeanFlow])
def test_a_configured_guidance_without_dropout_is_none(module: type[FlowMatching]) -> None:
    condition, noise = Condition(torch.eye(3)), torch.randn(3, 3, 8, 16)
    made = []
    for guidance in (2.0, 1.0):
        sampler = FlowSampler(2, "euler", guidance=guidance)
        with torch.no_grad():
            made.append(
                flow(module=module, condition_dropout=0.0, sampler=sampler).generate(condition, noise)
            )
    assert torch.equal(*made)


def test_images_come_back_from_their_noise() -> None:
    model, given = flow(sampler=FlowSampler(steps=60, guidance=2.0)), batch()
    with torch.no_grad():
        noise = model.embed(given)
        assert noise.shape == (6, 3 * 8 * 16)
        assert (model.reconstruct(given) - given.image).abs().max() < 0.02
        model.set_sampler(replace(model.sampler, guidance=1.0))
        same = model.decode(noise, given.condition)
        model.set_sampler(replace(model.sampler, guidance=10.0))
        other = model.decode(noise, Condition(given.condition.vector.roll(1, 1)))  # type: ignore[union-attr]
    assert (same - given.image).abs().max() < 0.02 < (other - given.image).abs().max()


def test_an_edit_changes_what_the_condition_changes_and_guidance_strengthens_it() -> None:
    model, given = flow(sampler=FlowSampler(steps=40)), batch()
    own = given.condition
    other = Condition(own.vector.roll(1, 1))  # type: ignore[union-attr]
    changes = []
    with torch.no_grad():
        noise = model.embed(given)
        plain = model.edit(noise, own, other)
        assert torch.equal(plain, model.decode(noise, other)), "without guidance nothing but the condition"
        for guidance in (3.0, 6.0):
            model.set_sampler(replace(model.sampler, guidance=guidance))
            assert (model.edit(noise, own, own) - given.image).abs().max() < 0.02, "its own: the image itself"
            changes.append(float((model.edit(noise, own, other) - given.image).abs().mean()))
    assert float((plain - given.image).abs().mean()) < changes[0] < changes[1]


def test_likelihood_is_of_each_image() -> None:
    model, given = flow(), batch(3)
    seeds, few = torch.arange(3), Integration(4)
    bits = model.bits_per_dimension(given, seeds, few)
    assert bits.shape == (3,) and bits.isfinite().all()
    alone = model.bits_per_dimension(given[[2]], seeds[[2]], few)
    assert float(alone) == pytest.approx(float(bits[2]), abs=1e-3)
    with torch.inference_mode():  # as Lightning's loops do
        inside = model.bits_per_dimension(batch(3).map(torch.clone), seeds, few)
    assert torch.allclose(inside, bits, atol=1e-3)


def test_a_network_that_predicts_data_leaves_no_noise() -> None:
    model = flow(prediction="data", condition_dropout=0.0, sampler=FlowSampler(steps=16))
    wanted = torch.rand(2, 3, 8, 16)
    model.network.forward = lambda x, t, condition, span=None: 2 * wanted - 1  # type: ignore[method-assign]
    with torch.no_grad():
        made = model.generate(Condition(torch.eye(3)[:2]), torch.randn(2, 3, 8, 16))
    assert (made - wanted).abs().max() < 1e-3


# Conditioned augmentation


def test_augmented_images_are_described_and_others_left_alone() -> None:
    image = torch.rand(64, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    changed, told = ConditionedAugmentation(probability=0.5)(image)
    assert changed.shape == image.shape and told.shape == (64, ConditionedAugmentation.size)
    assert float(changed.min()) >= 0 and float(changed.max()) <= 1
    plain = ~told.any(dim=1)
    assert torch.equal(changed[plain], image[plain])
    assert ((changed - image).abs().flatten(1).amax(dim=1) > 1e-3)[~plain].all()
    still, none = ConditionedAugmentation(probability=0.0, flip=False)(image)
    assert torch.equal(still, image) and not none.any()


def test_a_mirrored_image_is_exactly_that() -> None:
    image = torch.rand(32, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    changed, told = ConditionedAugmentation(probability=0.0)(image)
    mirrored = told[:, 0] == 1
    assert mirrored.any() and not mirrored.all()
    assert torch.allclose(changed[mirrored], image[mirrored].flip(3), atol=1e-5)
    assert torch.equal(changed[~mirrored], image[~mirrored])


def test_a_mask_is_changed_as_its_image_is() -> None:
    model = flow("image", augment=ConditionedAugmentation(probability=1.0), condition_dropout=0.0)
    mask = (torch.rand(4, 1, 8, 16) > 0.5).float()
    given = Batch(mask.expand(-1, 3, -1, -1), Condition(image=mask), torch.arange(4))
    model.train()
    _, data, told = model._ends(given, torch.randn(4, 3, 8, 16), None)
    assert told.image is not None and told.augmentation is not None and told.augmentation.any()
    assert torch.allclose(data[:, :1], 2 * told.image - 1, atol=1e-5)


# Mistakes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"prediction": "noise"}, "velocity' or 'data"),
        ({"condition_dropout": 1.0}, r"\[0, 1\)"),
        ({"coupling": True, "augment": ConditionedAugmentation()}, "nothing would move"),
        ({"image_size": (9, 16)}, "multiple"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        flow(**options)  # type: ignore[arg-type]
