"""What a training says first and last: what is trained, where things are, what to try next."""

from __future__ import annotations

import shlex

from lightning.pytorch import Callback, LightningModule, Trainer

from vedute.promises import Generator, as_image_data
from vedute.run_folder import CHECKPOINTS, RunFolder, is_trial, run_folder, shown


class OpeningMessage(Callback):
    """Says what is trained, on what, and where the results go."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print two lines on rank 0."""
        if not trainer.is_global_zero:
            return
        weights = sum(parameter.numel() for parameter in pl_module.parameters())
        size = as_image_data(getattr(trainer, "datamodule", None)).train_size
        precision = trainer.precision
        print(
            f"Training {type(pl_module).__name__}: {weights:,} weights, {size:,} images, "
            f"{trainer.strategy.root_device.type} ({precision})."
        )
        print(f"Run folder: {shown(run_folder(trainer))}", flush=True)


class ClosingMessage(Callback):
    """Says where things are after a training, and which commands to try next."""

    def __init__(self, program: str = "vedute") -> None:
        """Name the command line that the suggested commands begin with."""
        self._program = program

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Print the message on rank 0 when the bar is gone, unless it was a trial run."""
        if stage == "fit" and trainer.is_global_zero and not is_trial(trainer):
            print("\n".join(["", *self.lines(trainer, pl_module)]), flush=True)

    def lines(self, trainer: Trainer, pl_module: LightningModule) -> list[str]:
        """Return the message's lines; every file and command in them exists."""
        folder = run_folder(trainer)
        checkpoints = [folder / CHECKPOINTS / f"{name}.ckpt" for name in ("best", "last")]
        checkpoints = [path for path in checkpoints if path.is_file()]
        entries = [("Run folder", folder)]
        if checkpoints:
            entries.append(("Best model" if checkpoints[0].stem == "best" else "Last model", checkpoints[0]))
        grids = sorted(folder.glob("samples/epoch_*.png"))
        if grids:
            entries.append(("Sample grid", grids[-1]))
        lines = [f"{label:<12} {shown(path)}" for label, path in entries]
        if checkpoints:
            lines += ["", "Next:"]
            lines += [f"  {command}" for command in self._commands(pl_module, shown(checkpoints[0]))]
        if any(isinstance(callback, RunFolder) for callback in trainer.callbacks):  # type: ignore[attr-defined]
            root = folder.parent.parent
            lines.append(f"  tensorboard --logdir {shlex.quote(shown(root))}")
        return lines

    def _commands(self, module: LightningModule, checkpoint: str) -> list[str]:
        path = shlex.quote(checkpoint)
        if not isinstance(module, Generator):
            return [f"{self._program} test --ckpt_path {path}"]
        if module.condition_kind == "image":
            verb = "upscale" if module.scale > 1 else "translate"
            return [
                f"{self._program} {verb} --checkpoint {path} --input FILE_OR_FOLDER --output {verb}d/",
                f"{self._program} evaluate --checkpoint {path} --output evaluation.json",
            ]
        names = module.condition_names if module.condition_kind == "class" else []
        condition = f" --condition {shlex.quote(names[0])} --count 16" if names else " --count 16"
        commands = [f"{self._program} sample --checkpoint {path}{condition} --output samples.png"]
        if module.has_encoder:
            commands.append(f"{self._program} reconstruct --checkpoint {path} --output pairs.png")
        commands.append(f"{self._program} evaluate --checkpoint {path} --output evaluation.json")
        return commands
