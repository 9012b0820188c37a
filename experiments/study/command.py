"""Make the page of the study, its figures and its table from archives.

    python -m decomp.experiments.study docs/study

reads ``docs/study/study-*.zip``, one for each experiment file ``study-*.yaml`` that comes along, as far as they are
there, and writes figures and ``claims.csv`` into the folder, and the page, ``docs/study.md``, beside it.
"""

import argparse
from pathlib import Path

from decomp.experiments.console import clear_mistakes, show
from decomp.experiments.report.report import write_contents
from decomp.experiments.study.page import make_study
from decomp.platform.storage.files import FilePath

NAMES = ("slides", "digits", "digits-sparse", "phantom", "brain")
PRESETS = tuple(Path(__file__).parents[1] / f"study-{name}.yaml" for name in NAMES)
"""The study's experiments, in the order of the page."""


def main() -> None:
    """Make the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the archives lie")
    folder = parser.parse_args().folder
    with clear_mistakes():
        study = make_study(PRESETS, folder)
        write_contents(folder, {f"{table.name}.csv": table.csv().encode() for table in study.tables})
        write_contents(folder, {f"{drawing.name}.png": drawing.png for drawing in study.drawings})
        page = folder.with_suffix(".md")
        FilePath(page).write_atomically(study.page.encode())
    show(f"{page}: made from {folder}.")
