"""Experiments of the product, made small and computed in this process."""

from pathlib import Path

from helpers.toy_runs import run_locally

from decomp.experiments.plan import make_plan
from decomp.experiments.schema import load_experiment

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def run_preset(name, storage, *overrides):
    """Compute an experiment of the product below `storage`; returns the experiment's folder."""
    plan = make_plan(load_experiment(EXPERIMENTS / f"{name}.yaml", [f"storage={storage}", *overrides]))
    run_locally(plan.experiment.root, *plan.references, *plan.runs)
    return storage / name
