"""One LightningDataModule per data set, on the promises of ``datamodules.base``."""
