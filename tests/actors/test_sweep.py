import itertools
import time
from collections import Counter
from dataclasses import replace

import pytest
import ray
from helpers.toy_runs import DECOMP, REFERENCE, RIVAL_RUNS, ROI_RUNS, RUNS, results, run_locally
from ray.util import placement_group_table

from decomp.actors import scheduler
from decomp.actors.capacity import room
from decomp.actors.coordinator import Outcome
from decomp.actors.resources import Resources
from decomp.actors.scheduler import Sweep
from decomp.platform.errors import UserError
from decomp.platform.grid import Budget, Component, Start
from decomp.platform.storage.claims import CLAIMS, Claims
from decomp.platform.storage.runs import RunStore

# One sampler for each way of choosing: without a prediction, at once, from a pool, with the weights, and mixed.
SWEPT = [run for run in RUNS if run.sampler.name in ("rand", "uncert", "divers-cluster", "decomp", "decomp_badge")]
SPECS = [RUNS[0].first, REFERENCE, *SWEPT]
ROI_SPECS = [ROI_RUNS[0].first, ROI_RUNS[-2], ROI_RUNS[-1]]
# In the whole pool, after a start that reads the truth; and one that reads images that are no candidates.
RIVALS = [replace(run, cycles=3) for run in RIVAL_RUNS if run.sampler.name in ("clasp-pe", "typiclust")]
RIVALS[0] = replace(RIVALS[0], start=Start("all-classes", Budget(3, 4, (4, 4))))
RIVAL_SPECS = [RIVALS[0].first, *RIVALS]
SMALL = Resources(workers=1, cpus=0.5, runs_at_once=2)


@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    root = tmp_path_factory.mktemp("oracle")
    run_locally(root, *SWEPT, REFERENCE, *ROI_SPECS[1:], *RIVALS)
    return root


@pytest.mark.parametrize(
    "workers", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow)]
)
def test_any_number_of_shards_gives_the_single_process_results(cluster, oracle, tmp_path, workers):
    specs = list({spec.key: spec for spec in (*SPECS, *ROI_SPECS, *RIVAL_SPECS)}.values())
    sweep = Sweep(tmp_path, specs, Resources(workers=workers, cpus=0.25, runs_at_once=3 // workers))
    committed = Counter()
    outcomes = sweep.run(lambda report, ended: committed.update(report.committed))
    assert [outcome.error for outcome in outcomes] == [None] * len(specs)
    assert results(tmp_path) == results(oracle)
    first_cycles = {spec.label: 1 for spec in specs if spec.kind == "first"}  # each is trained once, for all its runs
    own = {spec.label: spec.cycles - (spec.kind == "run") for spec in specs if spec.kind != "first"}
    assert committed == first_cycles | own


def test_finished_runs_are_skipped_and_partial_ones_go_on(cluster, oracle, tmp_path):
    run_locally(tmp_path, *RUNS[:2], replace(DECOMP, cycles=3))
    outcomes = Sweep(tmp_path, [*RUNS[:2], DECOMP], SMALL).run(lambda report, ended: None)
    assert [outcome.spec for outcome in outcomes] == [DECOMP]
    assert results(RunStore(tmp_path, DECOMP).path) == results(RunStore(oracle, DECOMP).path)


def test_a_learner_that_raises_fails_its_run_alone(cluster, tmp_path):
    bad = [replace(spec, learner=Component("helpers.toys:Centroids", {"fail_at_cycle": 3})) for spec in RUNS[:1]]
    good = RUNS[1:2]
    specs = [bad[0].first, good[0].first, *bad, *good]
    outcomes = {o.spec.key: o for o in Sweep(tmp_path, specs, SMALL).run(lambda report, ended: None)}
    assert outcomes[good[0].key].error is None
    assert outcomes[bad[0].key].error == "RuntimeError: the learner has had enough"
    assert "in fit" in outcomes[bad[0].key].details.read_text()
    assert len(RunStore(tmp_path, bad[0]).committed()) == 2


@pytest.fixture
def two(tmp_path):
    """The claims of this driver and of another one."""
    with Claims(tmp_path, look=0.0).open() as mine, Claims(tmp_path).open() as theirs:
        yield mine, theirs


def test_runs_that_another_driver_computes_are_left_to_it_unless_this_one_stays(cluster, tmp_path, two):
    mine, theirs = two
    assert theirs.take(REFERENCE.key)
    sweep = Sweep(tmp_path, [REFERENCE], SMALL, claims=mine, stays=False)
    assert sweep.run(lambda report, ended: None) == []

    def finish(report, ended):
        if not ended:
            run_locally(tmp_path, REFERENCE)
            theirs.release(REFERENCE.key)

    sweep.stays = True
    assert sweep.run(finish) == [Outcome(REFERENCE)]


def test_a_run_that_fails_here_while_another_driver_computes_it_is_left_to_that(cluster, tmp_path, two):
    mine, theirs = two
    bad = replace(RUNS[0], learner=Component("helpers.toys:Centroids", {"fail_at_cycle": 2}))
    run_locally(tmp_path, bad.first)
    place = tmp_path / CLAIMS / f"{bad.key}.2"

    def take_over(report, ended):
        if not place.exists() and (tmp_path / CLAIMS / f"{bad.key}.1").exists():
            place.publish(place.stage(), {"driver": theirs.driver.encode()})

    sweep = Sweep(tmp_path, [bad], SMALL, claims=mine, stays=False)
    assert sweep.run(take_over) == []
    assert "enough" in (RunStore(tmp_path, bad).path / "failure.txt").read_text()


def test_a_data_set_that_fails_on_a_node_is_said_with_its_traceback(cluster, tmp_path):
    bad = replace(RUNS[0], dataset=Component("helpers.toys:Blobs", {"no_such_option": 1}))
    (outcome,) = Sweep(tmp_path, [bad.first], SMALL).run(lambda report, ended: None)
    assert "no such option" in outcome.error
    assert "build_dataset" in outcome.details.read_text()


def test_runs_of_a_first_cycle_that_failed_are_given_up(cluster, tmp_path):
    bad = replace(RUNS[0], learner=Component("helpers.toys:Centroids", {"fail_at_cycle": 1}))
    outcomes = Sweep(tmp_path, [bad.first, bad], SMALL).run(lambda report, ended: None)
    assert [outcome.error for outcome in outcomes] == [
        "RuntimeError: the learner has had enough",
        "the first cycle that it shares failed",
    ]


@pytest.mark.parametrize(
    ("resources", "sentence"),
    [
        (Resources(gpus=1), r"needs 1 worker.* 1 GPU each, but the cluster has 4 CPU and 0 GPU.*lower resources"),
        (Resources(workers=5), "room for 4; lower resources"),
    ],
)
def test_what_can_never_fit_is_refused_with_the_arithmetic(cluster, tmp_path, resources, sentence):
    with pytest.raises(UserError, match=sentence):
        Sweep(tmp_path, [REFERENCE], resources).run(lambda report, ended: None)


@pytest.mark.parametrize(
    ("workers", "gpus", "fitting"),
    [
        (1, 0, 32),
        (2, 0, 16),
        (1, 0.1, 20),
        (1, 0.25, 8),
        (2, 0.25, 4),
        (1, 0.6, 2),
        (3, 0.6, 0),
        (1, 1.0, 2),
        (2, 1.0, 1),
    ],
)
def test_small_runs_share_a_gpu_but_fractions_of_two_gpus_make_no_third(workers, gpus, fitting):
    assert room([{"Resources": {"CPU": 32.0, "GPU": 2.0}}], Resources(workers=workers, gpus=gpus)) == fitting


def node(cpus, name=None):
    return {"NodeID": name or ray.get_runtime_context().get_node_id(), "Resources": {"CPU": float(cpus)}}


@pytest.fixture
def slots_by_look(cluster, monkeypatch, tmp_path):
    """A sweep of six runs that compute nothing: how many slots it has at every look at the nodes, and what it tells."""

    def sweep(nodes, patience=0.0):
        def pretend(spec, *_):
            time.sleep(0.5)
            return Outcome(spec)

        last, looks, slots, told = len(nodes) - 1, itertools.count(), [], []
        monkeypatch.setattr(scheduler, "_living_nodes", lambda: nodes[min(last, next(looks))])
        monkeypatch.setattr(scheduler, "coordinate", pretend)
        monkeypatch.setattr(scheduler, "start_workers", lambda resources, group: [])

        def listen(report, ended):
            slots.append(sum(group["state"] != "REMOVED" for group in placement_group_table().values()))
            told.extend(report.warnings)

        specs = [replace(REFERENCE, seed=seed) for seed in range(6)]
        outcomes = Sweep(tmp_path, specs, Resources(cpus=1), patience).run(listen)
        assert len(outcomes) == 6
        return slots, told

    return sweep


def test_nodes_that_join_are_used_from_then_on(slots_by_look):
    slots, told = slots_by_look([*3 * [[node(1)]], [node(1), node(2, "joined")]])
    assert slots[:3] == [1, 1, 1]
    assert max(slots) == slots[3] == 3
    assert told == []


def test_no_more_runs_start_than_the_remaining_nodes_have_room_for(slots_by_look):
    slots, told = slots_by_look([[node(1), node(1, "lost")], [node(1)]])
    assert max(slots) == 2
    (sentence,) = told
    assert sentence.startswith("a node was lost, which leaves room for 1 of the 2 runs that have started;")


def test_a_cluster_has_time_until_the_nodes_of_the_first_run_have_joined(slots_by_look):
    slots, told = slots_by_look([*3 * [[node(0)]], [node(0), node(3, "joined")]], patience=60.0)
    assert slots[:4] == [0, 0, 0, 3]
    (sentence,) = told
    assert sentence.endswith("has 0 CPU and 0 GPU on 1 node(s), which makes room for 0; more nodes are waited for.")


def test_a_cluster_that_grows_on_demand_is_waited_for(cluster, tmp_path):
    """What does not fit is not refused: it waits for nodes, here for ever."""
    sweep = Sweep(tmp_path, [REFERENCE], Resources(cpus=64, runs_at_once=1, autoscaling=True))
    looks = []

    def listen(report, ended):
        looks.append(report.active)
        if len(looks) == 3:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        sweep.run(listen)
    assert looks == [{}, {}, {}]


def test_slots_that_nobody_needs_any_more_are_given_back(cluster, tmp_path):
    gate = tmp_path / "gate"
    slow = replace(RUNS[0], learner=Component("helpers.toys:Gated", {"gate": str(gate)}), cycles=1)
    free, done = [], []

    def listen(report, ended):
        free.append(ray.available_resources().get("CPU", 0))
        done.extend(ended)
        if done and free[-1] == 3:  # one is done and its slot is free, the other still works
            gate.touch()

    outcomes = Sweep(tmp_path / "runs", [slow.first, REFERENCE], Resources(cpus=1)).run(listen)
    assert [outcome.spec.kind for outcome in outcomes] == ["reference", "first"]
    assert 2 in free  # both at work
