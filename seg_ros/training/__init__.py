"""Training: from a dataset to a checkpoint. Needs torch."""
