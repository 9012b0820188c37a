"""Runs of the toy data set and learner, computed in this process: the oracle for everything distributed."""

import re
import shutil
from dataclasses import replace

from helpers.toys import Blobs, Boxes
from pydantic import TypeAdapter

from decomp.platform.components import build_dataset, build_learner
from decomp.platform.grid import Budget, Component, Sampler
from decomp.platform.loop.loop import Loop
from decomp.platform.loop.proposals import Proposals
from decomp.platform.loop.shard import PoolShard
from decomp.platform.loop.workers import LocalWorkers
from decomp.platform.names import RIVALS, SAMPLERS
from decomp.platform.predictions import PoolCounts
from decomp.platform.spec import RunSpec
from decomp.platform.storage.files import FilePath
from decomp.platform.storage.runs import CHECKPOINT, RECORD, REGIONS, RunStore

BASE = RunSpec(
    "run",
    Component("helpers.toys:Blobs"),
    Blobs().fingerprint(),
    Component("helpers.toys:Centroids"),
    seed=1,
    budget=Budget(2, 3, (4, 4)),
    sampler=Sampler("rand", Component("random"), Component("random")),
    cycles=7,
)
PAIRS = [
    *SAMPLERS.items(),
    ("rand_decomp", ("random", "decomposition")),
    ("decomp_uncert", ("decomposition", "uncertainty")),
    ("decomp_badge", ("decomposition", "badge")),
    ("uncert_decomp", ("uncertainty", "decomposition")),
]
RUNS = [replace(BASE, sampler=Sampler(name, *map(Component, pair))) for name, pair in PAIRS]
DECOMP = next(run for run in RUNS if run.sampler.name == "decomp")
SLOW = replace(DECOMP, learner=Component("helpers.toys:Centroids", {"seconds": 0.5}))
SLIDES = {"train_slides": 10, "validation_slides": 4, "test_slides": 4}
ROI = replace(
    BASE,
    dataset=Component("slides", SLIDES),
    fingerprint="slides",
    learner=Component("mlp", {"epochs": 4}),
    budget=Budget(3, 4, (1,)),
    cycles=5,
)
ROI_RUNS = [replace(ROI, sampler=Sampler(name, *map(Component, pair))) for name, pair in SAMPLERS.items()]
OF_POOL = Budget(None, 3, (4, 4), total=6)
RIVAL_RUNS = [
    replace(BASE, cycles=4, sampler=sampler, budget=OF_POOL if sampler.images.name == "all" else BASE.budget)
    for sampler in (TypeAdapter(Sampler).validate_python({"sampler": name}) for name in RIVALS)
]
ROI_RIVAL_RUNS = [
    replace(
        ROI,
        cycles=3,
        sampler=run.sampler,
        budget=Budget(None, 4, (1,), total=12) if run.budget == OF_POOL else ROI.budget,
    )
    for run in RIVAL_RUNS
]
VOLUME_RIVAL_RUNS = [
    replace(
        run,
        cycles=3,
        dataset=Component("helpers.toys:Boxes"),
        fingerprint=Boxes().fingerprint(),
        budget=replace(run.budget, region=region),
    )
    for run in RIVAL_RUNS
    for region in ((1, 4, 4), (2, 3, 5))
]
REFERENCE = replace(BASE, kind="reference", budget=None, sampler=None, cycles=1)


def run_locally(root, *specs, observer=None):
    """Compute the runs, and the first cycles that they share, one after the other."""
    firsts = {spec.first.key: spec.first for spec in specs if spec.kind == "run"}
    for spec in (*firsts.values(), *specs):
        run_alone(root, spec, observer)


def run_alone(root, spec, observer=None):
    """Compute one run, whose shared first cycle must be there."""
    learner = build_learner(spec.learner)
    dataset = learner.prepare(build_dataset(spec.dataset))
    workers = LocalWorkers(PoolShard(dataset, learner, "cpu"))
    Loop(RunStore(root, spec), dataset, workers, *([observer] if observer else [])).run()


class Halves(LocalWorkers):
    """Two shards in this process, whose answers come in the reverse order."""

    def __init__(self, shards):
        super().__init__(shards[0])
        self.shards = shards

    def _split(self, task):
        for k, shard in reversed(list(enumerate(self.shards))):
            images = tuple(image for image in task.images if int(image[-3:]) % 2 == k)
            if images:
                annotated = {image: regions for image, regions in task.annotated.items() if image in images}
                yield shard, replace(task, images=images, annotated=annotated)

    def predict(self, task):
        return PoolCounts.from_arrow([shard.predict(part) for shard, part in self._split(task)])

    def choose(self, task):
        return Proposals.from_arrow([shard.choose(part) for shard, part in self._split(task)], task.images)


def run_in_halves(root, spec):
    """Compute one run in two shards, whose answers come in the reverse order; its first cycle must be there."""
    learner = build_learner(spec.learner)
    dataset = learner.prepare(build_dataset(spec.dataset))
    workers = Halves([PoolShard(dataset, learner, "cpu") for _ in range(2)])
    Loop(RunStore(root, spec), dataset, workers).run()


def in_three_ways(folder, spec, interrupted_after):
    """Results of a run computed in one go, and those of it interrupted after some cycles, and in two shards."""
    run_locally(folder / "at once", spec)
    for root in ("again", "halves"):
        shutil.copytree(folder / "at once", folder / root)
    for cycle in RunStore(folder / "again", spec).committed()[interrupted_after:]:
        shutil.rmtree(str(cycle.path))
    run_alone(folder / "again", spec)
    shutil.rmtree(str(RunStore(folder / "halves", spec).path))
    run_in_halves(folder / "halves", spec)
    return results(folder / "at once"), [results(folder / root) for root in ("again", "halves")]


SEAL = re.compile(rb',\n "of": "[^"]*",\n "sha256": "[0-9a-f]{64}"(?=\n}\n\Z)')


def results(root):
    """Bytes of every result file below a folder, by relative path; wall times are no results.

    Records are without their seals, which say to which run they belong, so that runs of other specs can be compared.
    """
    below = root.rglob("*") if isinstance(root, FilePath) else root.walk()
    files = sorted((file for file in below if file.name in (CHECKPOINT, RECORD, REGIONS)), key=str)
    names = [f"{file.parent.publication}/{file.name}".removeprefix(f"{root}/") for file in files]
    assert len(set(names)) == len(names), "attempts were left behind"
    contents = zip(names, (SEAL.sub(b"", file.read_bytes()) for file in files), strict=True)
    return {name: content for name, content in contents if name.split("/")[-2].startswith("cycle-")}
