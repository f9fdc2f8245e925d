"""Registrars: `paper` (default), `phase`, `identity`."""
