"""EDSR for superres."""
