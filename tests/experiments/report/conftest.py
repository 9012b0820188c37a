"""Fake runs that the tests of the analyses by class share."""

import pytest
from helpers.fake_runs import fake_reference, fake_run

from decomp.experiments.report.cohorts import join_cohorts
from decomp.experiments.report.run_history import read_histories

SAMPLERS = ("rand", "decomp", "uncert")


@pytest.fixture
def histories(tmp_path):
    return read_histories(
        [
            *(fake_run(tmp_path, [0.2, 0.4, 0.6 + 0.1 * seed], seed=seed) for seed in range(2)),
            *(fake_run(tmp_path, [0.2, 0.5, 0.7], seed=seed, sampler="decomp") for seed in range(2)),
            fake_reference(tmp_path, 0.72),
        ]
    )


@pytest.fixture
def cohort(tmp_path):
    stores = [fake_run(tmp_path, [0.2, 0.4, 0.6], sampler=name, seed=seed) for name in SAMPLERS for seed in (0, 1)]
    return join_cohorts(read_histories(stores))[0]
