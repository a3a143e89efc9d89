"""One LightningModule per approach, on the promises of ``lightning_modules.base``."""
