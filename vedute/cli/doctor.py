"""``doctor``: what works on this machine, what is missing, and what to do about it."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from vedute.cli import program
from vedute.cli.inference import VerbParser
from vedute.files import cache_folder, weights_folder

_SCORE_WEIGHTS = (
    (
        "Inception weights",
        "weights-inception-2015-12-05-6726825d.pth",
        "FID and KID are",
        "a release file of toshas/torch-fidelity on GitHub",
    ),
    (
        "DINOv2 weights",
        "dinov2_vits14_pretrain.pth",
        "'evaluate --features dinov2' is",
        "published with facebookresearch/dinov2",
    ),
    ("LPIPS weights", "alexnet-owt-7be5be79.pth", "LPIPS is", "published by torchvision"),
)
"""What is found, its file, what needs it, and who publishes it."""


_LEAST_DISK_GIB = 5
_PACKAGES = (
    ("torch", True),
    ("torchvision", True),
    ("lightning", True),
    ("jsonargparse", True),
    ("torchmetrics", True),
    ("kornia", True),
    ("numpy", True),
    ("pillow", True),
    ("tfrecord", True),
    ("crc32c", True),
    ("tensorboard", True),
    ("torch-fidelity", False),
    ("wandb", False),
    ("optuna", False),
)

State = Literal["ok", "missing", "broken"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: Its name.
        state: ``ok``; ``missing``: something optional does not work; ``broken``: nothing will.
        detail: What was found.
        advice: What to do, empty when there is nothing to do.
    """

    what: str
    state: State
    detail: str
    advice: str = ""


def main(args: Sequence[str]) -> int:
    """Print the findings.

    Args:
        args: The verb's options.

    Returns:
        0 unless something essential is broken; then 1.
    """
    options = VerbParser(
        prog=f"{program()} doctor", description="Tell what works on this machine and what is missing."
    )
    options.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options.add_argument(
        "--weights-dir",
        type=Path,
        metavar="FOLDER",
        help="folder of pretrained weights (default: VEDUTE_WEIGHTS, then torch's own cache)",
    )
    given = options.parse_args(list(args))
    findings = [finding for check in _CHECKS for finding in _checked(check)]
    findings += score_weights(given.weights_dir)
    findings += networks(given.weights_dir)
    broken = any(finding.state == "broken" for finding in findings)
    if given.json:
        print(json.dumps({"works": not broken, "findings": [asdict(f) for f in findings]}, indent=2))
    else:
        _print_table(findings)
    return 1 if broken else 0


def _print_table(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("", "", "found", "what to do"):
        table.add_column(title, overflow="fold")
    colours = {"ok": "green", "missing": "yellow", "broken": "red"}
    for finding in findings:
        state = f"[{colours[finding.state]}]{finding.state}[/]"
        table.add_row(state, finding.what, _plain(finding.detail), _plain(finding.advice))
    # Without a terminal (a file, a test) lines are as long as they need to be.
    console = Console()
    Console(width=None if console.is_terminal else 200).print(table)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def _checked(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Run a check; one that fails is a finding itself, since a broken machine is what this is for."""
    try:
        yield from check()
    except Exception as error:
        name = check.__name__.strip("_").replace("_", " ")
        yield Finding(name, "broken", f"{type(error).__name__}: {error}".splitlines()[0])


def _python() -> Iterator[Finding]:
    supported = sys.version_info >= (3, 11)
    advice = "" if supported else "Install Python 3.11 or newer."
    yield Finding("Python", "ok" if supported else "broken", platform.python_version(), advice)


def _packages() -> Iterator[Finding]:
    for name, essential in _PACKAGES:
        try:
            yield Finding(name, "ok", version(name))
        except PackageNotFoundError:
            yield Finding(
                name, "broken" if essential else "missing", "not installed", f"python -m pip install {name}"
            )


def _torch_and_torchvision() -> Iterator[Finding]:
    advice = "Install both from one place: python -m pip install --upgrade torch torchvision"
    try:
        import torch
        import torchvision

        torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except (ImportError, RuntimeError, OSError) as error:
        yield Finding("torch and torchvision", "broken", str(error).splitlines()[0], advice)
    else:
        yield Finding("torch and torchvision", "ok", "work together")


def _processor() -> Iterator[Finding]:
    import torch

    from vedute.hardware import best_precision, cpu_has_bfloat16

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    fast = "native bfloat16" if cpu_has_bfloat16() else "no native bfloat16"
    yield Finding("CPU", "ok", f"{usable} cores, {torch.get_num_threads()} threads, {fast}")
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(number)
            half = "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no bfloat16"
            yield Finding(f"GPU {number}", "ok", f"{card.name}, {card.total_memory / 2**30:.0f} GiB, {half}")
    elif torch.backends.mps.is_available():
        yield Finding("GPU", "ok", "Apple (mps)")
    else:
        advice = ""
        if shutil.which("nvidia-smi"):
            advice = f"A driver is here, but torch {torch.__version__} cannot use it: install torch for CUDA."
        yield Finding("GPU", "missing", "none that torch can use; the CPU is used", advice)
    yield Finding("precision", "ok", f"{best_precision()} is chosen unless trainer.precision says otherwise")


def _places() -> Iterator[Finding]:
    cache = cache_folder()
    size = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) if cache.is_dir() else 0
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    if os.access(existing, os.W_OK):
        yield Finding("cache", "ok", f"{cache}, {_gibibytes(size)}")
    else:
        yield Finding(
            "cache", "broken", f"{cache} cannot be written", "Set VEDUTE_CACHE to a folder that can."
        )
    for name, folder in (("disk of the cache", existing), ("disk of runs", Path.cwd())):
        free = shutil.disk_usage(folder).free
        enough = free >= _LEAST_DISK_GIB * 2**30
        advice = (
            "" if enough else f"Free some: {_LEAST_DISK_GIB} GiB are soon used by caches and checkpoints."
        )
        yield Finding(name, "ok" if enough else "missing", f"{_gibibytes(free)} free at {folder}", advice)


def _gibibytes(size: int) -> str:
    return f"{size / 2**30:.2f} GiB"


def score_weights(folder: Path | None) -> Iterator[Finding]:
    """Yield which weights of scores are present, looked for where ``evaluate`` does.

    Args:
        folder: ``--weights-dir``; None: ``VEDUTE_WEIGHTS``.
    """
    own = weights_folder(folder)
    hub = Path(os.environ.get("TORCH_HOME") or "~/.cache/torch").expanduser() / "hub" / "checkpoints"
    places = [place for place in (own, hub) if place is not None]
    for name, file, use, source in _SCORE_WEIGHTS:
        found = next((place / file for place in places if (place / file).is_file()), None)
        if found is not None:
            yield Finding(name, "ok", str(found))
            continue
        advice = (
            f"{use} left out until {file} ({source}) is in {places[0]}; --weights-dir or VEDUTE_WEIGHTS name "
            "another folder."
        )
        yield Finding(name, "missing", "not found", advice)


def networks(folder: Path | None) -> Iterator[Finding]:
    """Yield which networks of perceptual losses and pretrained encoders have their weights.

    Args:
        folder: ``--weights-dir``; None: ``VEDUTE_WEIGHTS``.
    """
    try:
        from vedute.pretrained import USUAL, find_weights, places, published
    except (ImportError, RuntimeError, OSError):  # no torch, or two that do not match: said above
        return
    found = {name: find_weights(name, folder=folder) for name in USUAL}
    absent = [name for name, file in found.items() if file is None]
    present = ", ".join(name for name in found if name not in absent) or "none"
    if not absent:
        yield Finding("pretrained networks", "ok", present)
        return
    files = ", ".join(str(published(name)[0]) for name in absent)
    yield Finding(
        "pretrained networks",
        "missing",
        f"{present}; not {', '.join(absent)}",
        f"Only for perceptual losses and pretrained encoders: put {files}, published by torchvision, into "
        f"{places(folder)[0]}.",
    )


def _services() -> Iterator[Finding]:
    mode = os.environ.get("WANDB_MODE", "online")
    netrc = Path("~/.netrc").expanduser()
    known = bool(os.environ.get("WANDB_API_KEY")) or (netrc.is_file() and "wandb" in netrc.read_text())
    if mode == "online" and not known:
        advice = "Only for configs/with/wandb.yaml: 'wandb login', or WANDB_MODE=offline."
        yield Finding("Weights & Biases", "missing", "online, no login", advice)
    else:
        yield Finding("Weights & Biases", "ok", mode)
    submit = shutil.which("sbatch")
    job = os.environ.get("SLURM_JOB_ID")
    detail = f"inside job {job}" if job else (submit or "not on this machine (only clusters have it)")
    yield Finding("SLURM", "ok" if job or submit else "missing", detail)


_CHECKS = (_python, _packages, _torch_and_torchvision, _processor, _places, _services)
