"""Files: images, NumPy arrays, tables, weights.  All are written under a temporary name and renamed into place."""
