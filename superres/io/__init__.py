"""Files: images, scan folders, weights.  Everything is written under a temporary name and renamed into place."""
