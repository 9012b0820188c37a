"""`python -m decomp.experiments` is `decomp`."""

from decomp.experiments.cli import main

main()
