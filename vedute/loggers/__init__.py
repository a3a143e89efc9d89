"""Where scalars go: ``metrics.csv``, TensorBoard, and Weights & Biases when it is chosen.

All three write into the run folder and go on with it when a run is resumed: of the first two, rows
of steps that will be computed again are dropped; Weights & Biases gets those a second time, with
the same values.
"""

from vedute.loggers.tables import RunCSVLogger, read_metrics
from vedute.loggers.tensor_board import RunTensorBoardLogger
from vedute.loggers.weights_and_biases import WeightsAndBiases

__all__ = ["RunCSVLogger", "RunTensorBoardLogger", "WeightsAndBiases", "read_metrics"]
