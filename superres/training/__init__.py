"""Training: patches, the loop, checkpoints that resume bit for bit, and the history of the losses."""
