"""`python -m decomp.experiments.study`."""

from decomp.experiments.study.command import main

if __name__ == "__main__":
    main()
