"""The options of ``fit``, parsed as ``fit`` does, for verbs that leave the training to others."""

from __future__ import annotations

from collections.abc import Sequence

from vedute.cli.training import TrainingCLI


class ParsedOnly(TrainingCLI):
    """Parses, and builds nothing."""

    def _set_seed(self) -> None:
        """Leave this process's random numbers alone."""

    def before_instantiate_classes(self) -> None:
        """Leave checkpoints, weights and devices to the training."""

    def instantiate_classes(self) -> None:
        """Build nothing."""

    def text(self, args: Sequence[str]) -> str:
        """Return the whole configuration of these options, as YAML."""
        found = self.parser.parse_args([self.verb, *args])[self.verb]
        found["ckpt_path"] = None
        text: str = self._parser(self.verb).dump(found, skip_none=False)
        return text
