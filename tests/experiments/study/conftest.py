import pytest
import yaml
from helpers.toy_runs import run_locally

from decomp.experiments.archives.exporting import export
from decomp.experiments.description import Description
from decomp.experiments.plan import make_plan
from decomp.experiments.schema import load_experiment

EXPERIMENT = {
    "name": "study-toy",
    "dataset": {"name": "helpers.toys:Blobs"},
    "learner": {"name": "helpers.toys:Centroids"},
    "samplers": [
        "rand",
        "uncert",
        "decomp",
        {"images": "uncertainty", "regions": "decomposition"},
        "power-pe",
        "rand-fg-66",
    ],
    "budgets": [
        {"n_image": 2, "n_region": 4, "region": [4, 4], "cycles": 3},
        {"n_image": 4, "n_region": 2, "region": [4, 4], "cycles": 3},
        {"total": 8, "n_region": 4, "region": [4, 4], "cycles": 3},
    ],
    "start": "random",
    "contrasts": {"against": "decomp"},
    "seeds": 3,
}


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """An experiment file of the study, and a folder that holds its archive; the last repeat is not complete."""
    folder = tmp_path_factory.mktemp("docs")
    preset = folder / "study-toy.yaml"
    preset.write_text(yaml.safe_dump(EXPERIMENT | {"storage": str(folder / "runs")}))
    plan = make_plan(load_experiment(preset))
    run_locally(plan.experiment.root, *plan.references, *plan.runs[:-2])
    (folder / "study").mkdir()
    export(Description.of(plan), plan.histories(), folder / "study" / "study-toy.zip")
    return preset, folder / "study"
