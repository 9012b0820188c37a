from dataclasses import replace

import pytest
from helpers.fake_runs import CLASSES, fake_reference, fake_run

from decomp.experiments.description import Description
from decomp.experiments.report.design import Design
from decomp.experiments.report.run_history import read_histories
from decomp.experiments.sources import Source


@pytest.fixture
def source(tmp_path):
    """Makes a source of known scores: by sampler a list of curves, one for each seed, all from the same first score."""

    def make(name, curves, full=1.0, data=None, background=None, **design):
        root = tmp_path / f"{name}-{data}"
        changes = {"fingerprint": data or name}
        stores = [
            fake_run(root, scores, sampler=sampler, seed=seed, cycles=len(scores), **changes)
            for sampler, of_sampler in curves.items()
            for seed, scores in enumerate(of_sampler)
        ]
        stores += [] if full is None else [fake_reference(root, full, **changes)]
        description = Description(name, "miou", CLASSES, background, Design(**({"fold_groups": {0: 0}} | design)))
        return Source(description, f"{name}.zip", read_histories(stores))

    return make


@pytest.fixture
def two(source):
    """Two data sets: decomp gains 0.25 over rand in each of four blocks of one, and 0.125 in three of the other."""
    return [
        source("digits", {"rand": [[0.2, 0.2]] * 4, "decomp": [[0.2, 0.6]] * 4, "uncert": [[0.2, 0.4]] * 4}),
        source("slides", {"rand": [[0.0, 0.2]] * 3, "decomp": [[0.0, 0.3]] * 3, "uncert": [[0.0, 0.4]] * 3}, full=0.4),
    ]


def with_design(source, **design):
    description = replace(source.description, design=replace(source.description.design, **design))
    return replace(source, description=description)
