"""Example plug-ins for superres."""
