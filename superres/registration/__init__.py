"""Registration: pure functions that stitch tiles, find a field in a mosaic and refine its place.  Arrays in, values
out."""
