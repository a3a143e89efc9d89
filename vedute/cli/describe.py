"""``describe``: a model's layers with shapes, weights and multiply-adds, and a drawing of it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from vedute.cli import program
from vedute.errors import ConfigurationError

if TYPE_CHECKING:
    from lightning_modules.base import ImageModule


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Report a wrong option like every other mistake: one message, no usage."""
        raise ConfigurationError(f"{self.prog}: {message}. See {self.prog} --help.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=f"{program()} describe",
        usage=f"{program()} describe (--config FILE [options as for fit] | --checkpoint FILE) "
        "[--output FILE] [--json]",
        description="List a model's layers with the shapes of what goes in and out, weights and "
        "multiply-adds per image, and draw it. Nothing is trained, and no run folder is made.",
        epilog="Shapes are channels x height x width, without the batch. A multiply-add is one "
        "multiplication with addition in a convolution, dense layer or attention. Values of the "
        f"configuration can be changed as for fit: {program()} describe --config "
        "configs/cvae_landscapes.yaml --data.image_size 128",
        allow_abbrev=False,
    )
    parser.add_argument("--config", "-c", metavar="FILE", action="append", help="a configuration (YAML)")
    parser.add_argument("--checkpoint", metavar="FILE", type=Path, help="a checkpoint that fit wrote")
    parser.add_argument(
        "--output", metavar="FILE", type=Path, help="write a drawing: .png, .svg or .pdf (default: none)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def main(args: Sequence[str]) -> int:
    """Describe the model of a configuration or checkpoint.

    Args:
        args: The verb's options.

    Returns:
        0.

    Raises:
        VeduteError: The options, the configuration, its data or the checkpoint cannot be used.
    """
    parser = _parser()
    options, others = parser.parse_known_args(list(args))
    if (options.config is None) == (options.checkpoint is None):
        raise ConfigurationError("'describe' needs one of --config FILE and --checkpoint FILE.")
    if options.checkpoint is not None and others:
        raise ConfigurationError(
            f"A checkpoint is described as it was trained: '{others[0]}' changes nothing in it. "
            "Give the configuration with --config to change values."
        )
    if options.output is not None:
        from vedute.report.drawing import check_ending

        check_ending(options.output)

    module: ImageModule
    if options.checkpoint is not None:
        from lightning_modules.base import ImageModule
        from vedute.checkpoints import load_module

        module = load_module(options.checkpoint, ImageModule)
    else:
        configs = [argument for config in options.config for argument in ("--config", config)]
        module = _built([*configs, *others])
    _report(module, options.output, options.json)
    return 0


def _built(args: list[str]) -> ImageModule:
    """Build the model that ``fit`` with these options would train."""
    from lightning.pytorch import Trainer

    from vedute.cli.mistakes import own_errors
    from vedute.cli.quiet import quieten
    from vedute.cli.training import TrainingCLI
    from vedute.cli.training_arguments import complete

    class Untrained(TrainingCLI):
        """Builds data and model, and leaves out everything that belongs to a run."""

        def check_machine(self) -> None:
            """Need no GPU: nothing is trained."""

        def instantiate_trainer(self, **kwargs: object) -> Trainer:
            """Return a trainer that writes nothing: it is never started."""
            return Trainer(
                accelerator="cpu",
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )

    quieten()
    with own_errors():
        module: ImageModule = Untrained("fit", complete("fit", args)).model
    return module


def _report(module: ImageModule, output: Path | None, as_json: bool) -> None:
    """Print the layers and write the drawing."""
    from rich.console import Console

    from vedute.report.layers import layer_table, network_layers

    networks = module.described_networks()
    described = [network_layers(name, *network) for name, network in networks.items()]
    if as_json:
        kind = f"{type(module).__module__}.{type(module).__qualname__}"
        print(
            json.dumps({"module": kind, "networks": [network.as_dict() for network in described]}, indent=2)
        )
    else:
        # Wide enough for every table: rich would cut shapes off at the terminal's edge.
        console = Console(width=250)
        for network in described:
            console.print(layer_table(network))
    if output is not None:
        from vedute.report.drawing import draw_networks
        from vedute.report.flow import network_flow

        titles = [
            f"{network.name}: {network.kind}, {network.weights:,} weights, "
            f"{network.multiply_adds:,} multiply-adds per image"
            for network in described
        ]
        flows = [network_flow(*network) for network in networks.values()]
        draw_networks(output, list(zip(titles, flows, strict=True)))
        if not as_json:
            print(f"The drawing is in {output}")
