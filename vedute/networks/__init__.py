"""Networks: Tensor in, Tensor out. Nothing here knows Lightning."""
