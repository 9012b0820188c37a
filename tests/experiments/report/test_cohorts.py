from helpers.fake_runs import fake_reference, fake_run, spec

from decomp.experiments.report.cohorts import finished_references, join_cohorts
from decomp.experiments.report.run_history import read_histories
from decomp.platform.grid import Budget
from decomp.platform.storage.runs import RunStore


def test_samplers_are_followed_to_the_last_cycle_that_all_have_reached_in_some_repeat(tmp_path):
    histories = read_histories(
        [
            *(fake_run(tmp_path, [0.1, 0.2, 0.3], sampler="rand", seed=seed) for seed in (2, 0, 1)),
            fake_run(tmp_path, [0.1, 0.2], sampler="decomp", seed=0),
            fake_run(tmp_path, [0.1], sampler="decomp", seed=1),
            fake_run(tmp_path, [0.1, 0.4], sampler="decomp", seed=2),
        ]
    )
    (cohort,) = join_cohorts(histories)
    assert (cohort.cycle, cohort.repeats, cohort.names) == (2, ((0, 0), (2, 0)), ("rand", "decomp"))
    assert [record.metrics["miou"] for record in cohort.last("decomp")] == [0.2, 0.4]
    assert [history.repeat for history in cohort.of("rand")] == [(0, 0), (2, 0)]


def test_repeats_that_a_sampler_lacks_are_left_out(tmp_path):
    histories = read_histories(
        [
            fake_run(tmp_path, [0.1, 0.2], sampler="rand", seed=0),
            fake_run(tmp_path, [0.1, 0.2], sampler="rand", seed=0, fold=1),
            fake_run(tmp_path, [0.1, 0.2], sampler="decomp", seed=0, fold=1),
        ]
    )
    assert join_cohorts(histories)[0].repeats == ((0, 1),)


def test_a_sampler_that_fails_early_holds_nobody_back(tmp_path):
    finished = [fake_run(tmp_path, [0.1, 0.2, 0.3], sampler=name) for name in ("rand", "decomp")]
    (cohort,) = join_cohorts(read_histories([*finished, fake_run(tmp_path, [0.1], sampler="badge")]))
    assert (cohort.cycle, cohort.names, cohort.behind) == (3, ("rand", "decomp"), ("badge",))


def test_every_budget_has_a_cohort_unless_nothing_is_common(tmp_path):
    other, third = Budget(2, 2, (4, 4)), Budget(3, 2, (4, 4))
    histories = read_histories(
        [
            fake_run(tmp_path, [0.1]),
            fake_run(tmp_path, [0.1, 0.2], budget=other),
            RunStore(tmp_path, spec(budget=third)),
            fake_reference(tmp_path, 0.7),
        ]
    )
    assert [(cohort.budget, cohort.cycle) for cohort in join_cohorts(histories)] == [("1x2-4x4", 1), ("2x2-4x4", 2)]


def test_only_finished_references_count(tmp_path):
    done = fake_reference(tmp_path, 0.7)
    planned = RunStore(tmp_path, fake_reference(tmp_path / "elsewhere", 0.7, seed=1).spec)
    histories = read_histories([done, planned, fake_run(tmp_path, [0.1])])
    assert [history.store for history in finished_references(histories)] == [done]
