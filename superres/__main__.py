"""`python -m superres` is `superres`."""

from superres.cli import main

main()
