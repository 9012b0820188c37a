"""What commands are given: the experiment file and values to replace, and the plan that they describe."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from decomp.experiments.plan import Plan, make_plan
from decomp.experiments.schema import Experiment, load_experiment
from decomp.platform.errors import UserError

File = Annotated[Path, typer.Argument(metavar="FILE", help="The experiment file (YAML).")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Replace values of the file, e.g. seeds=10 samplers=\\[decomp,rand]"),
]
Name = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="Show the options of this one, e.g. nnunet or module:Class.")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the messages of Ray and MLflow.")]
Address = Annotated[
    str | None, typer.Option(help="Join a Ray cluster ('auto': the one of this machine) instead of this machine alone.")
]


class Published(StrEnum):
    """Published data that can be converted."""

    BRACS = "bracs"


def plan_of(file: Path, overrides: list[str] | None) -> Plan:
    """The plan of an experiment file; `UserError` with one line per mistake."""
    find_own_classes()
    experiment = load_experiment(file, overrides or [])
    try:
        return make_plan(experiment)
    except UserError as error:
        raise UserError("\n".join(f"{file}: {line}" for line in str(error).splitlines())) from error


def separated(parts: list[str]) -> tuple[list[str], list[str]]:
    """The files among a command's arguments, each once, and the values to replace; `UserError` without a file."""
    overrides = [part for part in parts if "=" in part and not Path(part).is_file()]
    files = list(dict.fromkeys(part for part in parts if part not in overrides))
    if not files:
        raise UserError(f"name an experiment file too, e.g. experiments/digits.yaml {overrides[0]}.")
    return files, overrides


def if_missing(experiment: Experiment) -> str:
    """What messages add if the results' folder that they name does not exist: commands are typed elsewhere, too."""
    folder = experiment.root.local
    if folder is None or folder.exists():
        return ""
    relative = "" if Path(experiment.storage).expanduser().is_absolute() else f", {experiment.storage!r} seen from here"
    return f" (which does not exist{relative}; storage=FOLDER names another)"


def find_own_classes() -> None:
    """Find the user's own classes in the folder where the command is typed, as with `python -m`."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def check_data(file: Path, plan: Plan) -> None:
    """Say all that is wrong with the data: `UserError` with one line per mistake."""
    if problems := plan.data_problems():
        raise UserError("\n".join(f"{file}: {problem}" for problem in problems))
