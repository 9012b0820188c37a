import shutil

import pytest
import yaml
from helpers.toy_runs import run_locally

from decomp.experiments.plan import make_plan
from decomp.experiments.schema import load_experiment


def write_toy(folder):
    """Write an experiment file of the toy data set and learner."""
    experiment = {
        "name": "toy",
        "dataset": {"name": "helpers.toys:Blobs"},
        "learner": {"name": "helpers.toys:Centroids"},
        "samplers": ["rand", "decomp"],
        "budgets": [{"n_image": 2, "n_region": 3, "region": [4, 4], "cycles": 5}],
        "seeds": 2,
        "resources": {"cpus": 0.5},
        "storage": str(folder / "runs"),
    }
    file = folder / "toy.yaml"
    file.write_text(yaml.safe_dump(experiment))
    return file


@pytest.fixture
def toy_file(tmp_path):
    """An experiment file of the toy data set and learner."""
    return write_toy(tmp_path)


@pytest.fixture(scope="session")
def three_cycles(tmp_path_factory):
    """Folder of the results of three cycles of the toy experiment."""
    plan = make_plan(load_experiment(write_toy(tmp_path_factory.mktemp("toy")), ["budgets.0.cycles=3"]))
    run_locally(plan.experiment.root, *plan.references, *plan.runs)
    return plan.experiment.root


@pytest.fixture
def compute(three_cycles):
    """Computes a plan of three cycles of the toy experiment, by copying."""

    def copied(plan):
        shutil.copytree(three_cycles, plan.experiment.root)
        assert not plan.missing(plan.histories())
        return plan

    return copied
