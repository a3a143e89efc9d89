"""The VQ-VAE through the command line: it learns in both parts, samples by seed, reloads and resumes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_modules.base import GenerativeModule
from lightning_modules.vq_vae import VQVAE, share_of
from tests.data.commands import failed
from tests.data.pictures import write_tiny_pictures
from tests.data.training import column
from vedute.batch import Batch, Condition
from vedute.checkpoints import load_checkpoint, load_module
from vedute.cli import main
from vedute.networks.vq_autoencoder import VQAutoencoder
from vedute.report.flow import network_flow
from vedute.schedules import Progress

ROOT = Path(__file__).parents[1]
CONFIG = str(ROOT / "configs" / "vq_vae_landscapes.yaml")
NETWORK = "--model.network.init_args"
PRIOR = "--model.prior.init_args"
QUANTIZER = f"{NETWORK}.quantizer.init_args"


def arguments(root: Path, folder: Path, *extra: str) -> list[str]:
    """Return the command that trains a small one on tiny pictures."""
    small = (
        f"--data.image_size 32 --data.batch_size 8 --trainer.precision 32-true {NETWORK}.widths [8,16,16] "
        f"{PRIOR}.width 16 {PRIOR}.depth 1 {PRIOR}.heads 2 {QUANTIZER}.codes 16 "
        "--model.optimizer.init_args.lr 3e-3"
    )
    quiet = "--trainer.enable_progress_bar false --trainer.log_every_n_steps 1"
    places = ["--data.root", str(root), "--trainer.default_root_dir", str(folder)]
    return ["fit", "--config", CONFIG, *small.split(), *quiet.split(), *places, *extra]


def fit(root: Path, folder: Path, *extra: str) -> Path:
    """Train and return the run folder."""
    assert main(arguments(root, folder, *extra)) == 0
    return max((folder / "runs" / "vq_vae_landscapes").iterdir())


CONSTANT = ["--model.learning_rate_schedule", "vedute.schedules.Constant"]
"""At the end of a schedule the rate is 0: nothing would move what rests anyway."""


class Watch(Callback):
    """Writes weights and learning rates after each step, of each process."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: object) -> None:
        rates = [group["lr"] for group in trainer.optimizers[0].param_groups]
        state = {name: value.clone() for name, value in pl_module.state_dict().items()}
        path = self.folder / f"{trainer.global_rank}-{trainer.global_step:03}.pt"
        torch.save({"state": state, "rates": rates}, path)


def watch(folder: Path) -> list[str]:
    callback = "--trainer.callbacks+=tests.test_vq_vae.Watch"
    return [callback, "--trainer.callbacks.init_args.folder", str(folder)]


def snapshots_of(folder: Path, rank: int = 0) -> list[dict[str, Any]]:
    return [torch.load(path, weights_only=True) for path in sorted(folder.glob(f"{rank}-*.pt"))]


@pytest.fixture(scope="module")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(tiny, tmp_path_factory.mktemp("run"), "--trainer.max_epochs", "12")


@pytest.fixture(scope="module")
def module(trained: Path) -> VQVAE:
    loaded = load_module(trained / "checkpoints" / "last.ckpt", GenerativeModule)  # type: ignore[type-abstract]
    assert isinstance(loaded, VQVAE) and not loaded.training
    return loaded


def some_images(count: int = 4) -> Batch:
    levels = torch.linspace(0, 1, count)[:, None, None, None]
    return Batch(levels.expand(-1, 3, 32, 32).contiguous(), Condition(torch.eye(5)[torch.arange(count) % 5]))


def test_both_parts_learn_and_everything_promised_is_logged(trained: Path) -> None:
    for name in ("train/reconstruction", "train/prior"):
        losses = column(trained, name)
        assert 30 <= len(losses) <= 31, "half of 60 batches each"  # six epochs of five
        assert sum(losses[-5:]) < 0.9 * sum(losses[:5]), name
    for stage in ("train", "val"):
        for name in ("loss", "reconstruction", "commitment", "prior", "mse", "psnr"):
            assert column(trained, f"{stage}/{name}"), f"{stage}/{name} is missing"
        assert all(1 <= value <= 16 for value in column(trained, f"{stage}/perplexity"))
        assert all(0 < value <= 1 for value in column(trained, f"{stage}/code_usage"))
    # Before the prior learns, its loss is that of the uniform distribution, so val/loss falls all the way.
    priors = column(trained, "val/prior")
    assert priors[0] == pytest.approx(2.7726, abs=1e-3) and priors[-1] < 0.9 * priors[0]
    assert column(trained, "val/loss")[-1] == min(column(trained, "val/loss"))


def test_the_frozen_part_stays_as_it_is(tiny: Path, tmp_path: Path) -> None:
    options = ["--trainer.max_epochs", "2", "--model.prior_from", "0.5"]
    half = fit(tiny, tmp_path / "half", *options, "--trainer.limit_train_batches", "2")
    state = load_checkpoint(half / "checkpoints" / "last.ckpt")["state_dict"]
    assert isinstance(state, dict)
    # The same first half, then stopped: what the autoencoder was when it was frozen.
    stopped = tmp_path / "stopped"
    kill = [
        "--trainer.callbacks+=tests.data.interrupt.SaveAndDie",
        "--trainer.callbacks.init_args.epoch",
        "1",
    ]
    kill += ["--trainer.callbacks.init_args.batch", "1"]
    command = arguments(tiny, stopped, *options, "--trainer.limit_train_batches", "2", *kill)
    done = subprocess.run([sys.executable, str(ROOT / "cli.py"), *command], cwd=ROOT, check=False)
    assert done.returncode == 137
    path = stopped / "runs" / "vq_vae_landscapes" / "0" / "checkpoints" / "last.ckpt"
    before = load_checkpoint(path)["state_dict"]
    assert isinstance(before, dict)
    for name, value in state.items():
        if name.startswith("network."):
            assert torch.equal(value, before[name]), name
    assert not torch.equal(state["prior.to_logits.weight"], before["prior.to_logits.weight"])


def test_both_can_learn_all_the_time(tiny: Path, tmp_path: Path) -> None:
    run = fit(tiny, tmp_path, "--trainer.max_epochs", "2", "--model.prior_from", "null")
    assert len(column(run, "train/prior")) == len(column(run, "train/reconstruction")) == 10
    assert "ema_state_dict" in load_checkpoint(run / "checkpoints" / "last.ckpt")


def test_averages_leave_encoder_and_codebook_alone(trained: Path, module: VQVAE) -> None:
    checkpoint = load_checkpoint(trained / "checkpoints" / "last.ckpt")
    averages, weights = checkpoint["ema_state_dict"], checkpoint["state_dict"]
    assert isinstance(averages, dict) and isinstance(weights, dict)
    assert {name.split(".")[1] for name in averages if name.startswith("network.")} == {"decoder"}
    name = "prior.to_logits.weight"
    assert torch.equal(module.state_dict()[name], averages[name])
    assert not torch.equal(averages[name], weights[name])
    assert torch.equal(module.network.quantizer.codebook, weights["network.quantizer.codebook"])
    assert bool(module.network.quantizer.ready)


@torch.no_grad()
def test_an_image_depends_on_its_seed_and_condition_only(module: VQVAE) -> None:
    condition = Condition(torch.eye(5)[torch.tensor([0, 1, 2, 0])])
    together = module.sample(condition, torch.tensor([3, 4, 5, 6]))
    alone = module.sample(condition[2:3], torch.tensor([5]))
    assert torch.allclose(together[2:3], alone, atol=1 / 255)
    assert together.shape == (4, 3, 32, 32) and together.min() >= 0 and together.max() <= 1
    other_seed = module.sample(condition[2:3], torch.tensor([6]))
    assert (other_seed - alone).abs().max() > 1 / 255
    noise = torch.zeros(2, *module.latent_shape)
    likeliest = module.generate(condition[:1].map(lambda t: t.repeat(2, 1)), noise)
    assert torch.allclose(likeliest[0], likeliest[1], atol=1 / 255)


@torch.no_grad()
def test_latent_vectors_come_back_as_the_reconstruction(module: VQVAE) -> None:
    batch = some_images()
    latents = module.embed(batch)
    assert latents.shape == (4, 16 * module.network.tokens) and latents.dtype == torch.float32
    assert torch.allclose(module.decode(latents, batch.condition), module.reconstruct(batch), atol=1e-6)
    assert module.reconstruct(batch)[-1].mean() > module.reconstruct(batch)[0].mean()
    between = module.decode((latents[:1] + latents[-1:]) / 2, batch.condition[:1])
    assert between.shape == (1, 3, 32, 32) and between.min() >= 0 and between.max() <= 1


def test_the_drawing_leads_from_the_image_through_the_codes_to_the_output() -> None:
    network = VQAutoencoder((16, 16), 3, widths=(8, 8))
    nodes = network_flow(network, (torch.zeros(1, 3, 16, 16),)).nodes
    assert any("EMAQuantizer" in (node.title, *node.details) for node in nodes)
    assert all(node.sources for node in nodes[1:]), "a block that nothing feeds"
    assert [node.role for node in nodes if node.role in ("input", "output")] == ["input", "output"]


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("describe", ()),
        ("interpolate", ("--to-seed", "1", "--from-condition", "coast", "--to-condition", "forest")),
        ("reconstruct", ("--count", "2")),
        ("sample", ("--condition", "coast=0.7,forest=0.3", "--count", "2")),
    ],
)
def test_verbs_take_the_checkpoint(
    trained: Path, tmp_path: Path, verb: str, options: tuple[str, ...]
) -> None:
    place = ["--checkpoint", str(trained / "checkpoints" / "last.ckpt"), "--output", str(tmp_path / "p.png")]
    assert main([verb, *place, *options]) == 0
    assert (tmp_path / "p.png").is_file()


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("interpolate", ("--from", "a", "--from-condition", "coast", "--to-condition", "forest")),
        ("interpolate", ("--from", "a", "--to", "b", "--condition", "coast")),
        ("reconstruct", ("--input", "a", "--condition", "coast")),
        (
            "reconstruct",
            (
                "--condition",
                "coast",
            ),
        ),
    ],
)
def test_a_condition_that_would_change_nothing_is_refused(
    trained: Path,
    class_folders: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    verb: str,
    options: tuple[str, ...],
) -> None:
    files = {"a": "Coast/0.png", "b": "Forest/2.png"}
    given = [str(class_folders / "Testing Data" / files[one]) if one in files else one for one in options]
    place = ["--checkpoint", str(trained / "checkpoints" / "last.ckpt"), "--output", str(tmp_path / "p.png")]
    said = failed(capsys, verb, *place, *given)
    assert "coast" in said and "VQVAE" in said and "without conditions" in said
    assert not (tmp_path / "p.png").exists()


def test_images_are_decoded_without_conditions(
    trained: Path, class_folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, last = (str(class_folders / "Testing Data" / name) for name in ("Coast/0.png", "Forest/2.png"))
    place = ["--checkpoint", str(trained / "checkpoints" / "last.ckpt"), "--output", str(tmp_path / "p.png")]
    assert main(["interpolate", *place, "--from", first, "--to", last]) == 0
    assert main(["reconstruct", *place, "--input", first]) == 0
    assert "decoded without conditions" in capsys.readouterr().out


def test_two_runs_of_one_seed_are_equal(tiny: Path, tmp_path: Path) -> None:
    runs = [fit(tiny, tmp_path / str(n), "--trainer.max_epochs", "2") for n in range(2)]
    for name in ("train/loss", "val/loss", "val/perplexity"):
        assert column(runs[0], name) == column(runs[1], name)


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_killed_run_resumes_to_the_same_weights(tiny: Path, tmp_path: Path, epoch: int) -> None:
    options = ["--trainer.max_epochs", "4"]  # the second half starts with epoch 2
    whole = fit(tiny, tmp_path / "whole", *options)
    kill = ["--trainer.callbacks+=tests.data.interrupt.SaveAndDie", "--trainer.callbacks.init_args.epoch"]
    kill += [str(epoch), "--trainer.callbacks.init_args.batch", "2"]
    command = arguments(tiny, tmp_path / "killed", *options, *kill)
    done = subprocess.run([sys.executable, str(ROOT / "cli.py"), *command], cwd=ROOT, check=False)
    assert done.returncode == 137
    resumed = fit(tiny, tmp_path / "killed", *options, "--ckpt_path", "last")
    first, second = (load_checkpoint(run / "checkpoints" / "last.ckpt") for run in (whole, resumed))
    for key in ("state_dict", "ema_state_dict"):
        for name, value in first[key].items():  # type: ignore[attr-defined]
            assert torch.equal(value, second[key][name]), name  # type: ignore[index]
    assert column(whole, "val/perplexity") == column(resumed, "val/perplexity")
    assert column(whole, "train/code_usage") == column(resumed, "train/code_usage")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((f"{QUANTIZER}.codes", "1"), "at least 2 codes"),
        ((f"{QUANTIZER}.code_size", "0"), "code_size is 0"),
        (("--data.image_size", "36"), "32 or 40"),
        (("--model.code_sampler.init_args.temperature", "0"), "temperature"),
        (("--model.code_sampler.init_args.top_k", "0"), "top_k"),
        (("--model.prior_from", "1.5"), "prior_from"),
        (("--model.commitment_weight", "-1"), "commitment"),
        (("--trainer.max_epochs", "-1"), "planned end"),
        (
            ("--model.code_sampler.init_args.guidance", "2", f"{PRIOR}.condition_dropout", "0"),
            "condition_dropout",
        ),
    ],
)
def test_bad_options_are_one_clear_message(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], says: str
) -> None:
    assert says in failed(capsys, *arguments(tiny, tmp_path, "--trainer.max_epochs", "1", *options))
    assert not (tmp_path / "runs" / "vq_vae_landscapes" / "0" / "checkpoints").exists()


def test_images_without_conditions(tmp_path: Path) -> None:
    root = write_tiny_pictures(tmp_path / "pictures")
    data = ["--data", str(ROOT / "configs" / "data" / "pictures.yaml"), "--trainer.max_epochs", "2"]
    command = arguments(root, tmp_path)
    assert main([*command[:3], *data, *command[3:]]) == 0
    run = tmp_path / "runs" / "vq_vae_landscapes" / "0"
    output = tmp_path / "samples.png"
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    assert main(["sample", "--checkpoint", checkpoint, "--count", "2", "--output", str(output)]) == 0
    assert output.is_file()


def test_each_part_goes_through_the_whole_schedule() -> None:
    assert share_of(Progress(6.0, 0.25), 0, 0.5) == Progress(6.0, 0.5)
    assert share_of(Progress(12.0, 0.5), 0, 0.5) == Progress(12.0, 1.0)
    assert share_of(Progress(18.0, 0.75), 0.5, 1) == Progress(6.0, 0.5)
    assert share_of(Progress(6.0, 0.25), 0.5, 1) == Progress(0.0, 0.0)
    assert share_of(Progress(0.0, 0.0), 0.5, 1) == Progress(0.0, 0.0)


LEARNED = ("losses.likelihood.log_deviation", "objective.balance.log_variances")


def learned_losses() -> list[str]:
    """Return options with a loss and a balance that have weights of their own."""
    balance = "{class_path: vedute.losses.balance.Uncertainty, init_args: {terms: [commitment, prior]}}"
    loss = "{class_path: vedute.losses.likelihood.GaussianLikelihood, init_args: {variance: learned}}"
    return ["--model.loss_balance", balance, "--model.losses", f"{{likelihood: {loss}}}"]


def check_rest(snapshots: list[dict[str, Any]]) -> None:
    """Check that what rests is bit-equal from one step to the next, and that the rest learns."""
    half = len(snapshots) // 2
    assert half >= 3 and len(snapshots) == 2 * half
    for part, resting, learning in (
        ("prior.", snapshots[:half], snapshots[half:]),
        ("network.", snapshots[half - 1 :], snapshots[:half]),
    ):
        names = [name for name in resting[0]["state"] if name.startswith(part)]
        for name in names:
            for snapshot in resting[1:]:
                assert torch.equal(snapshot["state"][name], resting[0]["state"][name]), name
        first, last = (learning[end]["state"] for end in (0, -1))
        assert sum(not torch.equal(first[name], last[name]) for name in names) > len(names) / 2


def test_what_rests_stays_bit_equal_at_a_constant_rate(tiny: Path, tmp_path: Path) -> None:
    options = ["--trainer.max_epochs", "4", "--trainer.limit_train_batches", "2", *CONSTANT]
    fit(tiny, tmp_path, *options, *watch(tmp_path))
    check_rest(snapshots_of(tmp_path))


def test_weights_of_losses_and_of_their_balance_are_trained(tiny: Path, tmp_path: Path) -> None:
    options = ["--trainer.max_epochs", "4", "--trainer.limit_train_batches", "2", *learned_losses()]
    fit(tiny, tmp_path, *options, *watch(tmp_path))
    snapshots = snapshots_of(tmp_path)
    for name in LEARNED:
        assert not torch.equal(snapshots[0]["state"][name], snapshots[3]["state"][name]), name
    deviation, variances = LEARNED
    # The prior's variance goes on with it, the likelihood rests with the autoencoder.
    assert not torch.equal(snapshots[4]["state"][variances], snapshots[-1]["state"][variances])
    assert torch.equal(snapshots[3]["state"][deviation], snapshots[-1]["state"][deviation])
    # autoencoder, prior, losses: the last go through one schedule in the whole run
    rates = [snapshot["rates"] for snapshot in snapshots]
    assert all(len(rate) == 3 for rate in rates)
    assert rates[3][0] == pytest.approx(0, abs=1e-6) and rates[3][2] > 1e-3 > rates[-1][2]


@pytest.mark.slow
@pytest.mark.parametrize("losses", [False, True])
def test_two_processes_keep_equal_weights(tiny: Path, tmp_path: Path, losses: bool) -> None:
    place = ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    place += [*CONSTANT, *watch(tmp_path), *(learned_losses() if losses else [])]
    command = arguments(tiny, tmp_path, "--trainer.max_epochs", "4", *place)
    subprocess.run([sys.executable, str(ROOT / "cli.py"), *command], cwd=ROOT, check=True, timeout=300)
    first, second = (snapshots_of(tmp_path, rank) for rank in range(2))
    assert len(first) == len(second)
    for name, value in first[-1]["state"].items():
        if name.startswith("code_usage."):
            continue  # each counts its own until the epoch ends
        assert torch.equal(value, second[-1]["state"][name]), name
    check_rest(first)
    run = tmp_path / "runs" / "vq_vae_landscapes" / "0"
    assert column(run, "val/prior")[-1] < column(run, "val/prior")[0]
    assert all(value > 0 for value in column(run, "val/code_usage"))
