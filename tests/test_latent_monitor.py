"""The latent monitor: its counts against constructed vectors, its picture and log in a run."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vedute.callbacks.latent_monitor import LatentMonitor
from vedute.cli import main
from vedute.errors import ConfigurationError
from vedute.metrics.latent_correlation import Correlation, LatentCorrelation
from vedute.report.latent_monitor import dimension_order, latent_picture


def constructed(count: int = 3000) -> torch.Tensor:
    """Return vectors: 0 and 3 equal, 1 and 4 opposite, 2 alone, 5 faint, 6 constant."""
    torch.manual_seed(0)
    own = torch.randn(count, 4)
    columns = [own[:, 0], own[:, 1], own[:, 2], 2 * own[:, 0], 3 - own[:, 1], 0.01 * own[:, 3]]
    return torch.stack([*columns, torch.full((count,), 0.7)], dim=1)


def measured(vectors: torch.Tensor) -> Correlation:
    metric = LatentCorrelation(vectors.shape[1])
    metric.update(vectors)
    return metric.correlation()


def test_correlations_are_those_of_numpy() -> None:
    vectors = constructed()
    found = measured(vectors)
    expected = np.corrcoef(vectors[:, :6].double().numpy().T)
    assert np.allclose(found.matrix[:6, :6].numpy(), expected, atol=1e-5)
    assert torch.allclose(found.variance, vectors.double().var(0, unbiased=False).float(), atol=1e-5)
    assert found.matrix[6].tolist() == [0, 0, 0, 0, 0, 0, 1], "what does not vary correlates with nothing"


def test_faults_are_counted() -> None:
    found = measured(constructed())
    assert found.low_variance(0.01) == 2
    assert found.correlated_pairs(0.9, 0.01) == 2, "both signs, each pair once"
    repeated = constructed().repeat(1, 2)
    assert measured(repeated).correlated_pairs(0.9, 0.01) == 6 + 6 + 1, "faint dimensions do not count"


def test_parts_and_processes_add_up() -> None:
    vectors = constructed(300)
    whole, parts = LatentCorrelation(7), [LatentCorrelation(7), LatentCorrelation(7)]
    whole.update(vectors)
    parts[0].update(vectors[:100])
    parts[1].update(vectors[100:250])
    parts[1].update(vectors[250:])
    for name, reduction in parts[0]._reductions.items():  # what torchmetrics does across processes
        assert reduction is not None
        gathered = torch.stack([getattr(part, name) for part in parts])
        setattr(parts[0], name, reduction(gathered))  # type: ignore[operator]
    assert torch.allclose(parts[0].correlation().matrix, whole.correlation().matrix, atol=1e-6)
    assert not whole.state_dict(), "nothing of it belongs into a checkpoint"


def test_a_single_dimension_and_half_precision_work() -> None:
    metric = LatentCorrelation(1)
    metric.update(torch.randn(50, 1).bfloat16())
    assert metric.correlation().matrix.tolist() == [[1.0]]
    assert metric.correlation().variance.shape == (1,)


def test_related_dimensions_stand_side_by_side_and_faint_ones_last() -> None:
    order = dimension_order(measured(constructed()), 0.01).tolist()
    assert sorted(order) == list(range(7)) and order[5:] == [5, 6]
    place = {dimension: position for position, dimension in enumerate(order)}
    assert abs(place[0] - place[3]) == 1 and abs(place[1] - place[4]) == 1


@pytest.mark.parametrize("size", [1, 2, 40, 1000])
def test_pictures_are_drawn_of_any_size(size: int) -> None:
    torch.manual_seed(0)
    found = measured(torch.randn(60, size) * torch.linspace(1, 0, size))
    kl = {"training": torch.rand(size), "validation": torch.rand(size)}
    picture = latent_picture(found, "title", 0.01, kl if size != 2 else None)
    assert picture.width > 1000 and len(set(picture.resize((200, 100)).getdata())) > 20


@pytest.mark.parametrize(
    "wrong",
    [
        {"every_n_epochs": 0},
        {"images": 1},
        {"dimensions": 0},
        {"low_variance": -1.0},
        {"high_correlation": 1.0},
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        LatentMonitor(**wrong)  # type: ignore[arg-type]


def monitored(tiny_config: Path, folder: Path, options: str) -> Path:
    text = tiny_config.read_text(encoding="utf-8")
    callback = (
        "  callbacks:\n    - class_path: vedute.callbacks.latent_monitor.LatentMonitor\n"
        f"      init_args: {options}\n"
    )
    config = folder / "monitored.yaml"
    config.write_text(text.replace("  callbacks:\n", callback), encoding="utf-8")
    quiet = ["--trainer.enable_progress_bar", "false", "--trainer.max_epochs", "3"]
    assert main(["fit", "--config", str(config), *quiet, "--trainer.default_root_dir", str(folder)]) == 0
    return folder / "runs" / "monitored" / "0"


def logged(run: Path, name: str) -> list[float]:
    with (run / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def test_a_run_has_pictures_and_counts_when_due(tiny_config: Path, tmp_path: Path) -> None:
    run = monitored(tiny_config, tmp_path, "{every_n_epochs: 2, low_variance: 1000}")
    pictures = sorted(path.name for path in (run / "samples").glob("latents_*"))
    assert pictures == ["latents_epoch_0002.png", "latents_epoch_0003.png"], "every second epoch and the last"
    with Image.open(run / "samples" / pictures[0]) as picture:
        assert picture.width > 1000
    assert logged(run, "val/low_variance_dimensions") == [4, 4]
    assert logged(run, "val/correlated_pairs") == [0, 0]


def test_it_can_look_at_training_images_and_some_dimensions(tiny_config: Path, tmp_path: Path) -> None:
    options = "{split: train, images: 7, dimensions: 2, batch_size: 3, low_variance: 1000}"
    run = monitored(tiny_config, tmp_path, options)
    assert logged(run, "train/low_variance_dimensions") == [2]
    assert (run / "samples" / "latents_epoch_0003.png").is_file()


def test_a_module_without_an_encoder_is_refused() -> None:
    from tests.data.stubs import StubData, StubGenerator

    class Silent(StubGenerator):
        def reconstruct(self, *_: object) -> None: ...
        def embed(self, *_: object) -> None: ...

    module = Silent(StubData(), "class")
    with pytest.raises(ConfigurationError, match="no encoder"):
        LatentMonitor().setup(None, module, "fit")  # type: ignore[arg-type]
