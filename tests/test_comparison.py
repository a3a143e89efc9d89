"""The page of ``compare``: what is ranked with what, what is left out and said, and that it is whole."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from tests.data.cards import made_card, write_card
from tests.data.commands import failed
from tests.test_html import Nesting
from vedute.cli import main
from vedute.report.comparison import Comparison, incomparable, read_runs, shown_names
from vedute.report.comparison_columns import score_columns
from vedute.report.comparison_page import comparison_page
from vedute.report.comparison_pictures import pictures_beside
from vedute.report.comparison_scores import Score, marks, score_rows, verdicts
from vedute.report.run_record import RunRecord, read_run

NAMES = ["coast", "forest"]


@pytest.fixture
def three(trained: Path) -> list[Path]:
    """Return three runs with cards: 1 and 2 are not told apart, 0 is worse."""
    folders = [Path(f"runs/tiny/{number}") for number in range(3)]
    for folder in folders[1:]:
        shutil.copytree(folders[0], folder)
    config = (folders[1] / "config.yaml").read_text()
    (folders[1] / "config.yaml").write_text(config.replace("lr: 0.001", "lr: 0.002"))
    for folder, quality in zip(folders, (0.5, 0.7, 0.72), strict=True):
        write_card(folder, NAMES, quality)
    return folders


def compared(*runs: Path, output: str = "page.html") -> str:
    assert main(["compare", *map(str, runs), "--output", output]) == 0
    return Path(output).read_text(encoding="utf-8")


def with_card(record: RunRecord, quality: float, /, **more: object) -> RunRecord:
    card = {**made_card(record.folder, NAMES, quality), **more}
    return replace(record, evaluation=json.loads(json.dumps(card)))


def column(runs: list[RunRecord], name: str) -> Score:
    main_scores, others = score_columns(runs)
    return next(score for score in [*main_scores, *others] if score.name == name)


# The page


def test_the_page_is_one_whole_file_with_everything(three: list[Path]) -> None:
    text = compared(*three)
    nesting = Nesting()
    nesting.feed(text)
    assert nesting.open == []
    for title in ("What is compared", "Scores", "Quality against cost", "Curves", "Pictures", "Confusion"):
        assert f">{title}" in text
    assert "Differences of configuration" in text and "How the cards were made" in text
    assert "http:" not in text and "https:" not in text and "<script" not in text and "<link" not in text
    sources = re.findall(r'<img src="([^"]*)"', text)
    assert len(sources) == 12 and all(source.startswith("data:image/jpeg") for source in sources)
    assert not re.search(r"url\((?!#)|@import", text)
    assert 'class="number best">72.0 %' in text and 'class="number level">70.0 %' in text
    assert "not told apart from it: tiny/1" in text and "<small>68.0 to 76.0 %</small>" in text
    assert "real images" in text and "88.0 %" in text
    assert "model.optimizer.lr" in text.replace("<wbr>", "") and ">0.002<" in text
    assert "var(--run-3)" in text and "#01022" not in text, "no stand-in of a colour is left"
    assert text.count('class="confusion"') == 4, "three runs and the real images"


def test_what_is_said_on_the_terminal(three: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *map(str, three)]) == 0
    said = capsys.readouterr().out
    assert "Q: the best is tiny/2 with 72.0 % (68.0 to 76.0 %); not told apart from it: tiny/1." in said
    assert "Written to comparison.html" in said and Path("comparison.html").is_file()


def test_one_run_alone(three: list[Path]) -> None:
    text = compared(three[0])
    assert "Differences of configuration" not in text and "number best" not in text
    assert "Scores" in text and "Curves" in text


def test_a_run_that_is_given_twice_counts_once(three: list[Path]) -> None:
    assert "2 runs of CVAE" in compared(three[0], three[0].absolute(), three[1])


def test_names_of_other_folders_are_told_apart(three: list[Path]) -> None:
    shutil.copytree(three[0], "moved/tiny/0")
    records = [read_run(three[0]), read_run(Path("moved/tiny/0")), read_run(three[1])]
    assert shown_names(records) == ["runs/tiny/0", "moved/tiny/0", "tiny/1"]


def test_text_of_cards_is_escaped(three: list[Path]) -> None:
    write_card(three[0], ["<b>coast</b>", "fo$re$st"], 0.5, notes=["<script>alert(1)</script>"])
    text = compared(*three)
    assert "<script" not in text and "&lt;script&gt;" in text and "<b>coast" not in text


# What cannot be used


def test_what_is_half_written_is_said_and_the_rest_compared(
    three: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (three[0] / "evaluation.json").write_text('{"quality": {')
    (three[1] / "metrics.csv").write_text("step,val/loss\n0,abc\n")
    started = Path("runs/started/0")
    started.mkdir(parents=True)
    (started / "config.yaml").write_text("seed_everything: 0\n")
    broken = Path("runs/broken/0")
    shutil.copytree(three[0], broken)
    (broken / "checkpoints" / "best.ckpt").write_bytes(b"PK\x03\x04 half")
    unread = Path("runs/unread/0")
    shutil.copytree(three[2], unread)
    (unread / "config.yaml").write_text("a: [1,\n")
    text = compared(*three, started, broken, unread, Path("runs/none/0"))
    said = capsys.readouterr().out
    for line in (
        "error: runs/started/0 is left out. runs/started/0 has no checkpoints/best.ckpt",
        "error: runs/broken/0 is left out. ",
        "error: runs/none/0 is left out. runs/none/0 does not exist",
        "warning: runs/tiny/0/evaluation.json is damaged",
        "warning: runs/tiny/1/metrics.csv is damaged",
        "warning: runs/unread/0/config.yaml is damaged",
        "note: tiny/0 has no card, so it has no scores. Make one:",
        "evaluate --checkpoint runs/tiny/0/checkpoints/best.ckpt --classifier runs/judge/0/checkpoints",
    ):
        assert line in said
    assert "4 runs of CVAE" in text and "Traceback" not in said
    assert "runs/started/0 is left out" in text


def test_an_error_only_where_nothing_is_left(three: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert "runs/none does not exist" in failed(capsys, "compare", "runs/none")
    said = failed(capsys, "compare", "runs/none", "runs/neither")
    assert "None of the 2 folders can be compared" in said and "does not exist" in said
    assert "ends in .html" in failed(capsys, "compare", three[0], "--output", "page.md")
    assert "--separate" in failed(capsys, "compare", three[0], "--separate")
    assert not Path("comparison.html").exists()


@pytest.mark.parametrize(
    "card",
    [
        "{}",
        '{"quality": null, "distances": null, "files": null, "settings": null, "seeds": null}',
        '{"quality": [1], "distances": {"fd_x": 3}, "confusion": {"rows": 3}, "files": {"samples": "../x"}}',
        '{"settings": {"seed": {}, "image_size": [{}], "count": [1, {}]}, "classifier": {}, "notes": "x"}',
        '{"quality": {"generated": {"mean": NaN, "coast": null}}, "confusion": {"rows": ["a"], "columns": '
        '["a"], "generated": [["x"]]}, "versions": [], "files": {"samples": 4, "best": "none.png"}}',
    ],
)
def test_cards_of_any_shape(three: list[Path], card: str) -> None:
    (three[0] / "evaluation.json").write_text(card)
    assert "3 runs" in compared(*three)


def test_cards_of_before(three: list[Path]) -> None:
    for folder in three:
        old = {
            key: value
            for key, value in made_card(folder, NAMES, 0.5).items()
            if key not in ("files", "manifold", "two_sample", "cas", "memorisation")
        }
        (folder / "evaluation.json").write_text(json.dumps(old))
        Image.new("RGB", (90, 40), "red").save(folder / "evaluation.png")
    text = compared(*three)
    assert text.count("<img") == 3 and "beside the confusion matrix" in text
    assert ">precision" not in text


def test_a_card_that_evaluate_wrote(trained: Path) -> None:
    first, second = Path("runs/tiny/0"), Path("runs/tiny/1")
    shutil.copytree(first, second)
    for folder, count in ((first, "24"), (second, "12")):
        checkpoint = str(folder / "checkpoints" / "best.ckpt")
        assert main(["evaluate", "--checkpoint", checkpoint, "--count", count]) == 0
    text = compared(first, second)
    assert "The cards differ in count: 24 (tiny/0); 12 (tiny/1)" in text
    assert 'alt="Samples of tiny/1"' in text and "fd_pixels" in text


def test_pairs_stand_beside_each_other(three: list[Path]) -> None:
    pairs = {"generated": {"psnr": 20.5, "ssim": 0.5}, "overlap": {"generated": {"iou": 0.6}}}
    for folder in three:
        write_card(folder, NAMES, 0.5, pairs=pairs, files={"card": "evaluation_samples.png"})
    text = compared(*three)
    assert 'alt="Pairs of tiny/2"' in text and "IoU of masks" in text and "20.50" in text


# What is ranked


@pytest.mark.parametrize(
    ("name", "qualities", "expected"),
    [
        ("Q", (0.5, 0.7, 0.72), ["", "level", "best"]),
        ("Q", (0.7, 0.7, 0.5), ["best", "best", ""]),
        ("fd_classifier", (0.5, 0.7, 0.74), ["", "level", "best"]),
        ("diversity, classifier", (0.2, 0.7, 0.9), ["", "level", "best"]),
        ("told from real, classifier", (0.7, 0.75, 0.5), ["best", "level", ""]),
        ("training time", (0.5, 0.7, 0.9), ["", "", ""]),
        ("recall, classifier", (0.5, 0.7, 0.72), ["", "", "best"]),  # without intervals nothing is level
    ],
)
def test_the_best_and_what_is_not_told_apart(
    trained: Path, name: str, qualities: tuple[float, ...], expected: list[str]
) -> None:
    record = read_run(Path("runs/tiny/0"))
    runs = [with_card(record, quality) for quality in qualities]
    if name == "training time":
        runs = [replace(run, cost={**run.cost, "processor_seconds": 60.0}) for run in runs]
    assert marks(column(runs, name), runs) == expected


def test_only_equals_are_ranked(trained: Path) -> None:
    record = read_run(Path("runs/tiny/0"))
    runs = [with_card(record, quality) for quality in (0.5, 0.6, 0.9)]
    settings = runs[2].scored("settings")
    assert isinstance(settings, dict)
    runs[2] = with_card(record, 0.9, settings={**settings, "count": 64})
    assert marks(column(runs, "fd_classifier"), runs) == ["", "best", "other"]
    assert marks(column(runs, "Q"), runs) == ["", "", "best"], "Q does not depend on the count"
    runs[2] = with_card(record, 0.9, classifier="runs/other/0/checkpoints/best.ckpt")
    assert marks(column(runs, "Q"), runs) == ["", "best", "other"]
    runs[2] = with_card(record, 0.9, settings={**settings, "split": "val"})
    assert marks(column(runs, "reconstruction PSNR, dB"), runs) == ["", "best", "other"]
    runs[2] = replace(with_card(record, 0.9), data=(record.data[0], {**record.data[1], "root": "elsewhere"}))
    assert marks(column(runs, "fd_pixels"), runs) == ["", "", "other"], "equal ones are not marked"
    assert marks(column(runs[1:], "Q"), runs[1:]) == ["other", "other"], "no two can be compared"


def test_a_classifier_is_the_same_by_any_path(trained: Path) -> None:
    record = read_run(Path("runs/tiny/0"))
    absolute = str(Path("runs/judge/0/checkpoints/best.ckpt").absolute())
    runs = [with_card(record, 0.5), with_card(record, 0.9, classifier=absolute)]
    assert marks(column(runs, "Q"), runs) == ["", "best"]


def test_what_cannot_be_compared_is_said(three: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    write_card(
        three[0],
        NAMES,
        0.5,
        classifier="other.ckpt",
        settings={"count": 64, "seed": 5, "split": "val", "image_size": [16, 16]},
        checkpoint="runs/tiny/0/checkpoints/last.ckpt",
    )
    compared(*three)
    said = capsys.readouterr().out
    for line in (
        "differ in count: 64 (tiny/0); 128 (tiny/1, tiny/2)",
        "differ in seed: 5 (tiny/0)",
        "differ in split: val (tiny/0)",
        "differ in image size: 16 x 16 (tiny/0)",
        "differ in classifier: ",
        "The card of tiny/0 is of runs/tiny/0/checkpoints/last.ckpt",
    ):
        assert line in said
    assert "seeds from 5" in Path("page.html").read_text()


def test_runs_of_other_data_are_said(trained: Path) -> None:
    record = read_run(Path("runs/tiny/0"))
    other = replace(record, number="1", data=("datamodules.cars.CarsDataModule", {"root": None}))
    comparison = Comparison([record, other], ["tiny/0", "tiny/1"], [])
    assert comparison_page(comparison).render().count("Cars, painted sample") >= 1
    (notice,) = incomparable(comparison.runs, comparison.names)
    assert "different data" in notice.text and "Cars, painted sample" in notice.text


def test_real_images_have_a_row_for_each_kind_of_card(trained: Path) -> None:
    record = read_run(Path("runs/tiny/0"))
    runs = [with_card(record, 0.5), with_card(record, 0.6), replace(record, evaluation=None)]
    comparison = Comparison(runs, ["a", "b", "c"], [])
    scores, _ = score_columns(runs)
    rows = score_rows(comparison, scores)
    assert [row.name for row in rows] == ["a", "b", "c", "real images"]
    assert rows[2].cells[0].text == "-"
    quality = runs[1].scored("quality")
    assert isinstance(quality, dict)
    runs[1] = with_card(record, 0.6, quality={**quality, "ceiling": {"mean": 0.8}})
    rows = score_rows(comparison, scores)
    assert [row.name for row in rows[3:]] == ["real images, for a", "real images, for b"]


def test_repeats_stand_in_for_intervals(trained: Path) -> None:
    record = read_run(Path("runs/tiny/0"))
    cards = [with_card(record, quality) for quality in (0.7, 0.71)]
    runs = [
        with_card(record, quality, quality={**one.scored("quality"), "interval": None})  # type: ignore[dict-item]
        for one, quality in zip(cards, (0.7, 0.71), strict=True)
    ]
    score = column(runs, "Q")
    assert score.below(runs[0]) == "± 1.0 %" and marks(score, runs) == ["level", "best"]
    assert verdicts(Comparison(runs, ["a", "b"], []), [score]) == [
        "Q: the best is b with 71.0 % (± 1.0 %); not told apart from it: a."
    ]


def test_the_ten_most_important_scores_come_first(trained: Path) -> None:
    runs = [with_card(read_run(Path("runs/tiny/0")), 0.5)]
    first, others = score_columns(runs)
    names = [score.name for score in [*first, *others]]
    assert len(first) == 10 and len(set(names)) == len(names)
    assert names[0] == "Q" and {"training time", "weights"} <= set(names[:10]) and "Q coast" in names[10:]
    assert all(score.about for score in [*first, *others])


# Pictures


def test_pictures_that_are_missing_or_elsewhere(three: list[Path]) -> None:
    (three[0] / "evaluation_best.png").write_bytes(b"no picture")
    (three[1] / "evaluation_best.png").unlink()
    Image.new("RGB", (9, 9)).save("runs/secret.png")
    card = made_card(three[2], NAMES, 0.5, files={"samples": "../../secret.png", "best": None})
    (three[2] / "evaluation.json").write_text(json.dumps(card))
    found, notices = pictures_beside(read_runs(three, "vedute"))
    assert {one.title: [run for run, _ in one.pictures] for one in found} == {
        "Samples": [0, 1],
        "Worst cases": [0, 1],
        "Nearest training images": [0, 1],
    }
    assert [notice.text for notice in notices] == [
        f"The picture evaluation_best.png of tiny/{n} is missing or damaged." for n in (0, 1)
    ]
