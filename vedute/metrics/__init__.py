"""Metrics of generated and reconstructed images, as torchmetrics classes."""
