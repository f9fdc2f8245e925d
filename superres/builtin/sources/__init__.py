"""Built-in sources: a virtual microscope, folders of a real scan, and pairs that are registered already."""
