"""Small runs on disk that nobody computed: committed through `RunStore` like real ones."""

from dataclasses import dataclass, replace

import numpy as np

from decomp.platform.datasets.base import IGNORE, Dataset
from decomp.platform.grid import Budget, Component, Sampler
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.regions import Region
from decomp.platform.spec import RunSpec
from decomp.platform.storage.records import Annotated, CycleRecord, Timing
from decomp.platform.storage.runs import RunStore
from decomp.platform.storage.seals import sha256

BASE = RunSpec(
    "run",
    Component("tiny", {"seed": 3}),
    "f00d",
    Component("learner", {"iterations": 5}),
    seed=0,
    budget=Budget(1, 2, (4, 4)),
    sampler=Sampler("rand", Component("random"), Component("random")),
    cycles=3,
)
CLASSES = ("ground", "road (wet)", "tree")
PIXELS = 4 * 16 * 24
T0 = 1_700_000_000_000


@dataclass(frozen=True)
class Tiny(Dataset):
    """Four images of 16 x 24."""

    channels: int = 3
    dtype: str = "uint8"

    classes = CLASSES

    def ids(self, split, fold):
        return tuple(f"{split}-{k}" for k in range(4))

    def shape(self, image):
        return 16, 24

    def image(self, image):
        values = np.random.default_rng(int(image[-1])).random((16, 24, self.channels))
        return (255 * values).astype(np.uint8) if self.dtype == "uint8" else values.astype(self.dtype)

    def labels(self, image):
        labels = np.random.default_rng(int(image[-1])).integers(0, 3, (16, 24)).astype(np.uint8)
        labels[0, 0] = IGNORE
        return labels

    def fingerprint(self):
        return "f00d"


def spec(sampler="rand", seed=0, fold=0, cycles=3, **changes):
    return replace(
        BASE,
        sampler=Sampler(sampler, Component("random"), Component("uncertainty")),
        seed=seed,
        fold=fold,
        cycles=cycles,
        **changes,
    )


def commit(store, number, score, share, *, exhausted=False, regions=None):
    """Commit one cycle; the cycle's two regions lie in an image of its own."""
    if regions is None:
        image = f"train-{number % 4}"
        row = 4 * (number // 4)
        regions = [Annotation(Region(image, (row, 8 * k), (4, 4)), number, k, None if k else 1) for k in range(2)]
    owner = store.first if number == 1 else store
    owner.create()
    store.create()
    if len(store.committed()) >= number:
        return
    staged = owner.stage(number)
    digests = []
    for member, checkpoint in enumerate(staged.checkpoints(owner.spec.members)):
        weights = f"{store.spec.seed} {number}{f' {member}' if member else ''}".encode()
        with checkpoint.writing() as file:
            file.write_bytes(weights)
        digests.append(sha256(weights))
    record = CycleRecord(
        number,
        {"miou": score},
        {"iou": {"ground": score, "road (wet)": None, "tree": 0.5}},
        Annotated(
            number,
            number / 4,
            2 * number,
            round(share * PIXELS),
            share,
            (number, 2 * number, number),
            number,
            7 * number,
        ),
        None if number == 1 else (0.25, 0.5, 0.75),
        None if number == 1 else (0.5, 0.3, 0.2),
        digests[0],
        exhausted=exhausted,
        members_sha256=tuple(digests[1:]),
    )
    timing = Timing({"train": 2.0, "predict": 1.0}, T0 + 60_000 * number, "0.1", "c0ffee")
    owner.commit(staged, record, timing, Ledger.of(regions))


def fake_run(root, scores, shares=None, **what):
    """A run with a committed cycle for every score."""
    store = RunStore(root, spec(**what))
    store.create()
    for number, score in enumerate(scores, start=1):
        commit(store, number, score, shares[number - 1] if shares else 0.01 * number)
    return store


def as_rois(histories):
    """The same histories as those of ROI classification: what was scored is the weighted F1."""
    for cycle in {id(cycle): cycle for history in histories for cycle in history.cycles}.values():
        (score,) = cycle.record.metrics.values()
        cycle.__dict__["record"] = replace(
            cycle.record, metrics={"weighted_f1": score}, class_metrics={"f1": cycle.record.class_metrics["iou"]}
        )
    return histories


def fake_reference(root, score, seed=0, fold=0, **changes):
    """A finished full-annotation reference."""
    reference = replace(BASE, kind="reference", budget=None, sampler=None, cycles=1, seed=seed, fold=fold, **changes)
    store = RunStore(root, reference)
    whole = [Annotation(Region("train-0", (0, 0), (16, 24)), 1, 0)]
    commit(store, 1, score, 1.0, regions=whole)
    return store
