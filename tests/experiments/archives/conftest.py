import pytest

from decomp.experiments.archives.archive import Archive
from decomp.experiments.archives.exporting import export
from decomp.experiments.description import Description
from decomp.experiments.plan import make_plan
from decomp.experiments.schema import load_experiment


@pytest.fixture
def planned(toy_file):
    """Plans of the toy experiment with rand and decomp, by the folder of their results and further overrides."""
    return lambda storage, *more: make_plan(
        load_experiment(toy_file, [f"storage={storage}", "budgets.0.cycles=3", "contrasts={against: decomp}", *more])
    )


@pytest.fixture
def computed(planned, compute, tmp_path):
    """The toy experiment, computed."""
    return compute(planned(tmp_path / "theirs"))


@pytest.fixture
def archive(computed, tmp_path):
    """The same as an archive."""
    export(Description.of(computed), computed.histories(), tmp_path / "toy.zip")
    return Archive.open(tmp_path / "toy.zip")
