"""Inference: exact tiling of images of any size, in bounded memory, and self-feeding."""
