"""Weights & Biases, which may be out of reach: a training never waits for it and never fails for it."""

from __future__ import annotations

import logging
import os
from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lightning.pytorch.loggers import WandbLogger
from lightning_utilities.core.rank_zero import rank_zero_only

from vedute.distributed import first_rank
from vedute.errors import ConfigurationError
from vedute.run_folder import shown

if TYPE_CHECKING:
    from wandb.sdk.lib import RunDisabled
    from wandb.wandb_run import Run

_log = logging.getLogger("vedute.wandb")

_ID_FILE = "wandb_id.txt"
"""Holds, in a run folder, the id of its W&B run and, in a second line, the next of W&B's own steps."""


class WeightsAndBiases(WandbLogger):
    """Weights & Biases; ``WANDB_MODE=offline`` keeps everything in the run folder's ``wandb/``.

    A training goes on without the service: where nobody has logged in, or the service does not
    answer when the training starts, the run is kept offline; what fails later is said once and left
    out. There is never a prompt for a login. The other loggers have all that this one has.

    Source: https://docs.wandb.ai
    """

    def __init__(
        self,
        project: str = "vedute",
        name: str | None = None,
        entity: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
        log_model: bool = False,
        upload_minutes: float = 10.0,
    ) -> None:
        """Choose where the run appears.

        Args:
            project: Project that the run belongs to.
            name: Name of the run; None: the run folder's, e.g. ``cvae_landscapes/0``.
            entity: User or team; None: your default one.
            group: Group of runs, e.g. of a sweep.
            tags: Tags of the run.
            log_model: Whether ``best.ckpt`` and ``last.ckpt`` are uploaded, as versions of an artifact, when
                the training ends.
            upload_minutes: Longest time that the end of a training waits for uploads, minutes; what is
                left then can be sent by ``wandb sync``.

        Raises:
            ConfigurationError: ``upload_minutes`` is not above 0.
        """
        if not upload_minutes > 0:
            raise ConfigurationError(f"upload_minutes must be above 0, got {upload_minutes}.")
        super().__init__(
            project=project, name=name, log_model=log_model, entity=entity, group=group, tags=tags
        )
        self._wandb_init.pop("anonymous", None)  # Lightning's default, of which wandb warns
        self._upload_seconds = 60 * upload_minutes
        self._lost = False
        self._id_file: Path | None = None
        self._next_step = 0

    def attach(self, folder: Path, resumed: bool) -> None:
        """Write to a run folder, going on with its W&B run when it is resumed."""
        self._save_dir = self._wandb_init["dir"] = str(folder)
        if self._name is None:
            self._name = self._wandb_init["name"] = f"{folder.parent.name}/{folder.name}"
        self._id_file = folder / _ID_FILE
        if resumed and self._id_file.is_file():
            self._id, *step = self._id_file.read_text(encoding="utf-8").split()
            self._wandb_init["id"] = self._id
            self._next_step = int(step[0]) if step else 0

    @property
    def experiment(self) -> object:
        """The ``wandb`` run; an empty stand-in on ranks other than the first.

        Raises:
            ConfigurationError: An option cannot be used.
        """
        if self._experiment is None and first_rank():
            self._start()
        return super().experiment

    def _start(self) -> None:
        """Start the run, offline where it cannot be otherwise.

        Raises:
            ConfigurationError: An option cannot be used.
        """
        import wandb

        self._wandb_init["settings"] = wandb.Settings(finish_timeout=self._upload_seconds)
        try:
            self._keep_offline(self._obstacle())
            try:
                _ = super().experiment
            except (wandb.errors.CommError, OSError) as error:
                self._keep_offline(f"Weights & Biases could not be reached: {error}")
                _ = super().experiment
        except wandb.errors.Error as error:
            raise ConfigurationError(
                f"Weights & Biases could not start: {error} Set WANDB_MODE=offline to log without the "
                "service, or leave out configs/with/wandb.yaml."
            ) from error
        run = self._experiment
        assert run is not None
        if run.settings.mode == "offline" and self._next_step:
            # The service numbers what it gets; a file that is sent later begins at 0 again without this.
            run.log({}, step=self._next_step)
        self._note()

    def _note(self) -> None:
        """Write down which run this is and how far it is, for a training that continues it."""
        if self._id_file is not None and self._experiment is not None:
            self._id_file.write_text(f"{self._experiment.id}\n{self._experiment.step}\n", encoding="utf-8")

    def _obstacle(self) -> str | None:
        """Return why the service would refuse this run, None where nothing is known to stop it."""
        import wandb

        mode = os.environ.get("WANDB_MODE") or wandb.setup().settings.mode
        if mode not in ("online", "shared"):
            return None
        if wandb.login(prompt=False, verify=False):
            return None
        return "Nobody has logged in to Weights & Biases ('wandb login' does, once)."

    def _keep_offline(self, reason: str | None) -> None:
        if reason is None:
            return
        self._wandb_init["mode"] = "offline"
        where = "the run folder" if self._save_dir is None else shown(Path(self._save_dir))
        later = f"wandb sync {where}/wandb/offline-run-*"
        _log.warning("%s This run is kept offline; to send it later: %s", reason, later)

    def _unless_lost(self, action: Callable[[], None]) -> None:
        """Do something with the run; say once if that fails, and then leave the run alone."""
        import wandb

        if self._lost:
            return
        try:
            action()
        except (wandb.errors.Error, OSError) as error:
            self._lost = True
            _log.warning(
                "Weights & Biases failed (%s: %s). The training goes on without it; metrics.csv and "
                "TensorBoard have everything.",
                type(error).__name__,
                error,
            )

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, object] | Namespace) -> None:
        """Send the configuration."""
        _ = self.experiment  # options that cannot be used are an error, unlike what happens to the run later
        self._unless_lost(lambda: super(WeightsAndBiases, self).log_hyperparams(params))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Send scalars."""
        self._unless_lost(lambda: super(WeightsAndBiases, self).log_metrics(metrics, step))
        self._unless_lost(self._note)

    @rank_zero_only
    def log_image(self, key: str, images: list[object], step: int | None = None, **kwargs: object) -> None:
        """Send pictures."""
        self._unless_lost(lambda: super(WeightsAndBiases, self).log_image(key, images, step, **kwargs))
        self._unless_lost(self._note)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the W&B run, so that a second training in this process gets one of its own."""
        run = self._experiment
        if run is None:
            return
        self._unless_lost(lambda: super(WeightsAndBiases, self).finalize(status))
        self._unless_lost(lambda: run.finish(exit_code=0 if status == "success" else 1))
        if self._lost:
            _forget(run)
        self._experiment, self._lost = None, False


def _forget(run: Run | RunDisabled) -> None:
    """Let wandb start anew in this process after its own process has died."""
    import wandb

    for end in (run.finish, wandb.teardown):
        with suppress(wandb.errors.Error, OSError):
            end()
    wandb.run = None
