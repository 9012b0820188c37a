from types import SimpleNamespace

import pytest
from helpers.fake_runs import fake_reference, fake_run
from helpers.report_contents import rows

from decomp.experiments.report.cohorts import join_cohorts
from decomp.experiments.report.run_history import RunHistory, read_histories
from decomp.experiments.report.wall_times import (
    phase_drawing,
    phase_table,
    phases_of,
    samplers_phase_seconds,
    wall_seconds,
    wall_table,
)
from decomp.platform.storage.records import Timing


@pytest.fixture
def histories(tmp_path):
    return read_histories(
        [
            *(fake_run(tmp_path, [0.2, 0.4, 0.6 + 0.1 * seed], seed=seed) for seed in range(2)),
            *(fake_run(tmp_path, [0.2, 0.5, 0.7], seed=seed, sampler="decomp") for seed in range(2)),
            fake_reference(tmp_path, 0.72),
        ]
    )


def timed(store, *phases):
    return RunHistory(store, tuple(SimpleNamespace(timing=Timing(each, 0, "1", "")) for each in phases))


def test_phases_are_means_over_a_runs_own_cycles(tmp_path):
    first = {"train": 100.0}
    runs = [
        timed(fake_run(tmp_path, [0.1] * 3), first, {"train": 2.0, "select": 1.0}, {"train": 4.0, "zeal": 1.0}),
        timed(fake_run(tmp_path, [0.1] * 3, seed=1), first, {"train": 5.0}, {"train": 5.0}),
    ]
    (cohort,) = join_cohorts(runs)
    assert phases_of(runs) == ("select", "train", "zeal")
    found = samplers_phase_seconds(cohort)["rand"]
    assert {phase: spread.mean for phase, spread in found.items()} == {"select": 0.25, "train": 4.0, "zeal": 0.25}


def test_cycles_whose_times_were_lost_do_not_count(tmp_path):
    run = timed(fake_run(tmp_path, [0.1] * 3), {"train": 100.0}, {}, {"train": 4.0})
    (cohort,) = join_cohorts([run])
    assert samplers_phase_seconds(cohort)["rand"]["train"].mean == 4.0
    assert wall_seconds([run]) == {"first cycles": (1, 100.0), "rand": (1, 4.0)}
    lost = timed(fake_run(tmp_path, [0.1] * 2), {}, {})
    assert rows(wall_table([lost])) == []
    assert phase_drawing(join_cohorts([lost])) is None


def test_before_cycle_2_no_phase_is_timed(tmp_path):
    (cohort,) = join_cohorts(read_histories([fake_run(tmp_path, [0.1])]))
    assert samplers_phase_seconds(cohort) == {"rand": {}}
    assert phase_drawing([cohort]) is None


def test_the_shared_first_cycle_is_paid_once(tmp_path):
    stores = [fake_run(tmp_path, [0.1, 0.2, 0.3], sampler=name) for name in ("rand", "decomp")]
    found = wall_seconds(read_histories([*stores, fake_reference(tmp_path, 0.7)]))
    assert found == {"first cycles": (1, 3.0), "rand": (2, 6.0), "decomp": (2, 6.0), "full annotation": (1, 3.0)}


def test_seconds_of_the_phases_add_up_to_those_of_a_cycle(histories):
    found = rows(phase_table(join_cohorts(histories)))
    assert [(row["predict"], row["train"], row["cycle"]) for row in found] == [(1.0, 2.0, 3.0)] * 2


def test_wall_times_add_up(histories):
    found = rows(wall_table(histories))
    assert sum(row["seconds"] for row in found[:-1]) == found[-1]["seconds"] == 3.0 * (2 + 2 * 2 + 2 * 2 + 1)
    assert found[-1]["cycles"] == 11


def test_phases_are_told_apart_by_more_than_their_colours(histories):
    svg = phase_drawing(join_cohorts(histories)).svg
    assert ">train<" in svg
    assert ">predict<" in svg
    assert "<pattern" in svg
