import pytest
import yaml


@pytest.fixture
def toy_file(tmp_path):
    """An experiment file of the toy data set and learner."""
    experiment = {
        "name": "toy",
        "dataset": {"name": "helpers.toys:Blobs"},
        "learner": {"name": "helpers.toys:Centroids"},
        "samplers": ["rand", "decomp"],
        "budgets": [{"n_image": 2, "n_region": 3, "region": [4, 4], "cycles": 5}],
        "seeds": 2,
        "resources": {"cpus": 0.5},
        "storage": str(tmp_path / "runs"),
    }
    file = tmp_path / "toy.yaml"
    file.write_text(yaml.safe_dump(experiment))
    return file
