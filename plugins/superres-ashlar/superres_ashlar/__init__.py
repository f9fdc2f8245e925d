"""A superres registrar that stitches with ashlar."""
