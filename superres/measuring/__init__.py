"""The measurements of the paper on anybody's images: what the commands mtf, resolution, evaluate and reproduce do."""
