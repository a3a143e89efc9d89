"""Quality cards as ``evaluate`` writes them, made up."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image, ImageDraw

JUDGE = "runs/judge/0/checkpoints/best.ckpt"

PICTURES = {name: f"evaluation_{name}.png" for name in ("samples", "best", "worst", "neighbours")}


def made_card(run: Path, names: list[str], quality: float, /, **more: object) -> dict[str, object]:
    """Return a full card.

    Args:
        run: The run folder that it is of.
        names: Classes.
        quality: Share of images that are recognised; the other scores follow from it.
        more: Parts that replace those of the card.
    """
    generated = {"mean": quality, **dict.fromkeys(names, quality)}
    ceiling = {"mean": 0.9, **dict.fromkeys(names, 0.9)}
    right, count = round(100 * quality), len(names)
    missed = (100 - right) // max(1, count - 1)
    near = 1 - 0.2 * (1 - quality)
    return {
        "checkpoint": str(run / "checkpoints" / "best.ckpt"),
        "classifier": JUDGE,
        "model": "CVAE",
        "weights": 1000,
        "classes": names,
        "training": {"epochs": 2, "processor_seconds": 60.0, "wall_seconds": 70.0},
        "quality": {
            "generated": generated,
            "ceiling": ceiling,
            "top2": {"generated": {"mean": min(1.0, quality + 0.1)}, "ceiling": {"mean": 0.99}},
            "interval": {name: [value - 0.04, value + 0.04] for name, value in generated.items()},
            "images": {"generated": 512, "ceiling": 500},
        },
        "confusion": {
            "rows": names,
            "columns": names,
            "generated": [[right if a == b else missed for b in names] for a in names],
            "ceiling": [[90 if a == b else 10 // max(1, count - 1) for b in names] for a in names],
        },
        "distances": {
            "fd_classifier": {
                "generated": 20 * (1 - quality),
                "floor": 0.3,
                "interval": [20 * (1 - quality) - 0.5, 20 * (1 - quality) + 0.7],
                "images_per_side": 492,
            },
            "kd_classifier": {"generated": 0.2 * (1 - quality), "floor": -0.001, "interval": None},
            "fd_pixels": {"generated": 0.3, "floor": 0.1, "images_per_side": 492},
        },
        "manifold": {
            f"{kind}_classifier": {"generated": near * share, "floor": share, "interval": None}
            for kind, share in (("precision", 0.8), ("recall", 0.7), ("density", 1.0), ("coverage", 0.9))
        },
        "diversity": {
            "classifier": {
                "generated": 2 * near,
                "real": 2.0,
                "ratio": near,
                "interval": [near - 0.03, near + 0.03],
            }
        },
        "two_sample": {
            "classifier": {
                "generated": {"accuracy": 1.2 - quality, "low": 1.15 - quality, "high": 1.25 - quality},
                "real": {"accuracy": 0.51, "low": 0.46, "high": 0.56},
            }
        },
        "cas": {
            "generated_to_real": {"accuracy": quality - 0.1, "low": quality - 0.15, "high": quality - 0.05},
            "real_to_generated": {"accuracy": quality, "low": quality - 0.05, "high": quality + 0.05},
            "ceiling": {"accuracy": 0.88, "low": 0.85, "high": 0.9},
        },
        "memorisation": {
            "classifier": {
                "distance_ratio": near,
                "close_share": 0.02,
                "close_share_real": 0.01,
                "duplicate_share": None,
                "p_value": float("nan"),
            }
        },
        "seeds": {"q": {"mean": quality, "half_range": 0.01, "blocks": 3}},
        "reconstruction": {"psnr": 20 + quality, "ssim": 0.5, "ms_ssim": None, "images": 500},
        "pairs": None,
        "files": dict(PICTURES),
        "settings": {
            "count": 128,
            "seed": 0,
            "seeds": 3,
            "split": "test",
            "image_size": [32, 32],
            "averaged_weights": True,
        },
        "notes": ["fid and kid are left out: there are no weights."],
        "versions": {"torch": "2.0"},
        "seconds": 12.5,
        **more,
    }


def write_card(run: Path, names: list[str], quality: float, /, **more: object) -> None:
    """Write a card and its pictures into a run folder."""
    (run / "evaluation.json").write_text(json.dumps(made_card(run, names, quality, **more)))
    for number, file in enumerate(PICTURES.values()):
        picture = Image.new("RGB", (300, 120), (250 - 40 * number, 250, 250))
        draw = ImageDraw.Draw(picture)
        for place in range(8):
            shade = round(30 + 200 * quality)
            draw.rectangle((20 + 34 * place, 40, 50 + 34 * place, 70), fill=(shade, 90, 20 * place))
        picture.save(run / file)
