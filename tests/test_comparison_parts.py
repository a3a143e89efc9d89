"""Parts of the comparison page: curves, settings, pictures that fit, plots of runs."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from vedute.report.comparison_curves import MOST_POINTS, panels, thinned
from vedute.report.comparison_pictures import fitted
from vedute.report.comparison_settings import differences, flattened
from vedute.report.html import data_uri
from vedute.report.run_plots import Point, curve_panel, labelled_points
from vedute.report.run_record import read_run

# Curves


def write_metrics(path: Path, steps: int, offset: float) -> Path:
    lines = ["step,epoch,train/loss,train/data_wait,val/psnr,val/lonely" + ("x" if offset else "")]
    for step in range(steps):
        lines.append(f"{step},{step // 100},{1 / (step + 1) + offset},0.5,,")
        lines.append(f"{step},,,0.5,,")
        if step % 10 == 9:
            lines.append(f"{step},{step // 100},,,{step + offset},1")
            lines.append(f"{step},{step // 100},,,{step + offset},1")  # repeated, as Lightning does
    path.write_text("\n".join(lines))
    return path


def test_curves_that_runs_share(tmp_path: Path) -> None:
    files = [write_metrics(tmp_path / f"{n}.csv", steps, n) for n, steps in enumerate((1000, 4050))]
    found, label = panels([*files, tmp_path / "missing.csv"])
    assert [panel.name for panel in found] == ["val/psnr", "train/loss"] and label == "epochs"
    for panel in found:
        assert [curve.run for curve in panel.curves] == [0, 1]
        for curve, epochs in zip(panel.curves, (10.0, 40.5), strict=True):
            assert len(curve.x) <= MOST_POINTS and (np.diff(curve.x) > 0).all()
            assert epochs * 0.98 < curve.x.max() <= epochs + 1e-9
    assert len(found[0].curves[0].x) == 100, "a value that was repeated counts once"
    assert "val/lonely" in [panel.name for panel in panels(files[:1])[0]], "of one run alone, everything"


def test_curves_by_time_where_it_was_logged(tmp_path: Path) -> None:
    for number in range(2):
        rows = "\n".join(f"{step},0,{step},{60 * step}" for step in range(10))
        (tmp_path / f"{number}.csv").write_text(f"step,epoch,val/q,train/processor_seconds\n{rows}")
    found, label = panels([tmp_path / "0.csv", tmp_path / "1.csv"])
    assert label == "minutes of training" and [panel.name for panel in found] == ["val/q"]
    assert found[0].curves[0].x.tolist() == list(range(10))


def test_damaged_metrics_have_what_can_be_read(tmp_path: Path) -> None:
    first = tmp_path / "first.csv"
    first.write_text("step,epoch,val/q\n0,0,1\n1,0,abc\n2,0,nan\n3,1,2,9,9\nx,1,3\n4,1")
    second = tmp_path / "second.csv"
    second.write_bytes(b"\xff\xfe\x00step")
    found, _ = panels([first])
    assert found[0].curves[0].y.tolist() == [1, 2]
    assert panels([second, tmp_path])[0] == []


def test_thinning_keeps_the_ends() -> None:
    x = np.arange(5000.0)
    for average in (False, True):
        few, values = thinned(x, x, average)
        assert len(few) == MOST_POINTS and np.allclose(few, values)
    assert thinned(x, x, False)[0][[0, -1]].tolist() == [0, 4999]


# Settings


def test_settings_become_flat_names() -> None:
    optimizer = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.001, "betas": [0.9, 0.99]}}
    callbacks = [
        {"class_path": "a.EMA", "init_args": {"decay": 0.9}},
        {"class_path": "b.EMA", "init_args": {"decay": 0.8}},
        {"class_path": "b.Bare"},
    ]
    assert flattened({"model": {"optimizer": optimizer}, "trainer": {"callbacks": callbacks, "x": None}}) == {
        "model.optimizer": "AdamW",
        "model.optimizer.lr": "0.001",
        "model.optimizer.betas": "[0.9, 0.99]",
        "trainer.callbacks": "EMA, EMA, Bare",
        "trainer.callbacks.EMA.decay": "0.9",
        "trainer.callbacks.EMA (2).decay": "0.8",
        "trainer.x": "none",
    }


def test_only_settings_that_differ_seeds_and_places_last(trained: Path) -> None:
    record = read_run(Path("runs/tiny/0"))
    network = {"class_path": "n.Big", "init_args": {"width": 3, "depth": 2}}
    first = {"seed_everything": 0, "data": {"root": "a", "batch_size": 4}, "model": {"network": network}}
    second = {"seed_everything": 1, "data": {"root": "b", "batch_size": 4}, "model": {"network": None}}
    third = {**first, "model": {"network": network, "kl_weight": 2.0}}
    runs = [replace(record, configured=configured) for configured in (first, second, third)]
    found, inner = differences(runs)
    assert [one.name for one in found] == ["model.kl_weight", "model.network", "data.root", "seed_everything"]
    assert found[0].values == [None, None, "2"] and found[1].values == ["Big", "none", "Big"]
    assert [one.name for one in inner] == ["model.network.depth", "model.network.width"]
    assert differences([runs[0], runs[0]]) == ([], [])


# Pictures


def test_pictures_are_made_to_fit() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (900, 2000, 3), dtype=np.uint8)
    picture = Image.fromarray(noise)
    assert len(fitted(picture, 60_000)) <= 60_000 < len(data_uri(picture))
    assert len(fitted(picture, 10)) > 10, "never smaller than can be seen"


# Plots


def test_plots_of_runs_take_the_colours_of_the_page() -> None:
    points = [
        Point(n, f"run_$x$_{n}/0", 10.0 ** (n % 4), 0.1 * n, (0.0, 0.2) if n % 2 else None) for n in range(11)
    ]
    text = labelled_points(points, ("minutes", "Q"))
    assert "var(--run-1)" in text and "var(--run-8)" in text and "#01022" not in text
    assert all(f">{point.label}<" in text for point in points), "each is labelled, and is no formula"
    assert labelled_points([Point(0, "alone", 0.0, 0.0, None)], ("x", "y")).startswith("<svg")


def test_curves_of_any_values(tmp_path: Path) -> None:
    for values in ([1.0, 1.0], [1e-4, 1.0, 1e4], [-5.0, 5.0], [0.0, 1e9]):
        rows = "\n".join(f"{step},{step},{value}" for step, value in enumerate(values))
        (tmp_path / "metrics.csv").write_text(f"step,epoch,val/q\n{rows}")
        (panel,) = panels([tmp_path / "metrics.csv"])[0]
        assert curve_panel(panel, "epochs").startswith("<svg")
        assert all(math.isfinite(value) for value in panel.curves[0].x)
