"""Annotators who know the truth, and data for them."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from helpers.layouts import picture, scene
from helpers.nnunet_raw import LAYOUTS, save, write_layout
from helpers.toy_runs import DECOMP
from PIL import Image

from decomp.platform.annotation.answered import Answers, with_answers
from decomp.platform.annotation.crops import Slices
from decomp.platform.components import build_dataset, build_learner
from decomp.platform.datasets.base import IGNORE
from decomp.platform.datasets.folder import Folder
from decomp.platform.datasets.synthetic.phantom import Phantom
from decomp.platform.datasets.synthetic.slides import Slides
from decomp.platform.grid import Budget, Component
from decomp.platform.loop.asked import read_answers, read_asked
from decomp.platform.loop.live import LiveOracle, Pending
from decomp.platform.loop.loop import Loop
from decomp.platform.loop.shard import PoolShard
from decomp.platform.loop.workers import LocalWorkers
from decomp.platform.storage.files import FilePath
from decomp.platform.storage.runs import RunStore

CODES = {"ground": 0, "square": 1, "disc": 2}


class Scenes(Folder):
    """The same folder, as the toy learner reads it: one channel."""

    def image(self, image):
        return super().image(image)[..., :1].astype(np.float32) / 60


@dataclass(frozen=True)
class OpenSlides(Slides):
    """Slides whose ROIs people label."""

    labelled: bool = True

    def labels(self, image):
        labels = super().labels(image)
        return labels if self.labelled or image in self.ids("test", 0) else np.full_like(labels, IGNORE)


def write_scenes(root: Path, counts=(("train", 6), ("test", 3))) -> Path:
    """Grey pictures in the layout of the data set `folder`, with masks for all of them."""
    for split, count in counts:
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for number in range(count):
            labels = scene(number if split == "train" else 100 + number)
            Image.fromarray(np.repeat(picture(labels)[..., None], 3, 2)).save(
                root / split / "images" / f"s{number}.png"
            )
            Image.fromarray(labels).save(root / split / "masks" / f"s{number}.png")
    return root


def answer_folders(queries, truth, folder, only=None):
    """Put the true masks of queries into a folder of the format `folders`.

    Args:
        queries: the queries.
        truth: gives the labels of an image, in the pixels of its file.
        folder: the cycle's folder.
        only: the numbers of the queries that are answered; None for all.
    """
    for number, query in enumerate(queries):
        if only is not None and number not in only:
            continue
        slices = Slices.of(query).split(truth(query.image)[query.slices])
        for k, labels in enumerate(slices, start=1):
            name = query.id if len(slices) == 1 else f"{query.id}_{k:03d}"
            Image.fromarray(np.ascontiguousarray(labels)).save(folder / "masks" / f"{name}.png")


def answer_rois(queries, truth, folder, only=None):
    """Write the true classes of ROIs into the table of answers."""
    for number, query in enumerate(queries):
        if only is None or number in only:
            (label,) = truth(query.image)[query.slices]
            fill_in(folder, query, **{"class": OpenSlides().classes[label]})


def fill_in(folder, asked, **cells):
    """Fill in cells of a query's line in a folder's table of answers."""
    with (folder / "answers.csv").open() as table:
        rows = list(csv.DictReader(table))
    for row in rows:
        row |= cells if row["query"] == asked.id else {}
    with (folder / "answers.csv").open("w") as table:
        writer = csv.DictWriter(table, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


FOLDERS = Component("folders")


@dataclass
class LiveRun:
    """A run whose pool people label, and the same run on a labelled pool.

    Attributes:
        root: where everything lies.
        dataset: the labelled data set, which takes the option ``labelled``.
        learner, budget, cycles: those of the run.
        annotation_format: what the annotator uses.
        write: puts the answers of the annotator in their place, as `answer_folders`.
    """

    root: Path
    dataset: Component
    learner: Component
    budget: Budget
    cycles: int
    annotation_format: Component = FOLDERS
    write: object = staticmethod(answer_folders)

    def __post_init__(self):
        run = replace(DECOMP, learner=self.learner, cycles=self.cycles, budget=self.budget)
        self.simulated = replace(run, dataset=self.dataset, fingerprint="labelled")
        unlabelled = self.dataset.with_options({"labelled": False})
        self.spec = replace(run, dataset=unlabelled, fingerprint="unlabelled")
        self.true = build_dataset(self.dataset)

    @property
    def store(self):
        return RunStore(FilePath(self.root / "runs"), self.spec)

    def simulate(self):
        """The simulation; returns its run."""
        learner = build_learner(self.learner)
        dataset = learner.prepare(self.true)
        store = RunStore(FilePath(self.root / "simulated"), self.simulated)
        for spec in (store.spec.first, store.spec):
            Loop(RunStore(store.root, spec), dataset, LocalWorkers(PoolShard(dataset, learner, "cpu"))).run()
        return store

    def annotate(self, **options):
        """What the user types, again and again; returns what is pending, or None at the end."""
        answers, learner = Answers(), build_learner(self.learner)
        dataset = learner.prepare(with_answers(build_dataset(self.spec.dataset), answers))
        shard = PoolShard(dataset, learner, "cpu")
        for spec in (self.spec.first, self.spec):
            store = RunStore(self.store.root, spec)
            oracle = LiveOracle(store, shard, answers, self.annotation_format, self.root / "asked", **options)
            try:
                Loop(store, dataset, LocalWorkers(shard), oracle=oracle).run()
            except Pending as pending:
                return pending
        return None

    def queries(self, cycle):
        return read_asked(self.store.first if cycle == 1 else self.store, cycle, self.true.original_files).queries

    def truth(self, image):
        """True labels in the pixels of the image's file."""
        return self.true.to_original(image, self.true.labels(image))

    def answer(self, pending, only=None):
        self.write(self.queries(pending.cycle), self.truth, pending.opened, only)

    def answer_all(self):
        """Annotate to the end; returns the run."""
        while pending := self.annotate():
            self.answer(pending)
        return self.store


def of_scenes(root, cycles):
    """A run of the toy learner on scenes."""
    options = {"root": str(write_scenes(root / "data")), "codes": CODES}
    dataset = Component("helpers.annotators:Scenes", options)
    return LiveRun(root, dataset, Component("helpers.toys:Centroids"), Budget(2, 3, (8, 8)), cycles)


def of_volumes(root, folder, region):
    """A run of a tiny nnU-Net on a raw data set, in whose grid nothing is resampled."""
    small = {"configuration": "3d_fullres", "features": [4, 8], "patch": [8, 16, 16], "batch": 2, "convolutions": 1}
    short = {"max_epochs": 1, "iterations_per_epoch": 2, "mirroring": False, "augmentation": "light"}
    learner = Component("nnunet", {**small, **short, "cache": str(root / "cache")})
    return LiveRun(root, Component("nnunet", {"root": str(folder)}), learner, Budget(2, 2, region), cycles=2)


def write_phantoms(root):
    """Small phantoms as a raw data set of nnU-Net, three for training and one for the test; returns its folder."""
    phantom = Phantom(cases=4, size=(20, 32, 32), root=str(root / "phantom"))
    folder = write_layout(root, replace(LAYOUTS["kits"], test=1), cases=3)
    for number, case in enumerate(phantom.case_ids()):
        part = "Tr" if number < 3 else "Ts"
        image, labels = phantom.image(case)[..., 0].astype(np.int16), phantom.labels(case)
        save(folder / f"images{part}" / f"case_{number}_0000.nii.gz", image, (6, 6, 6))
        save(folder / f"labels{part}" / f"case_{number}.nii.gz", labels, (6, 6, 6))
    return folder


def results(store):
    """All that a run leaves, apart from seals, which name the run, and times."""
    return [(cycle.record, cycle.regions_file.read_bytes()) for cycle in store.committed()]


def kept(live):
    """All that a run and its queries have left: files of cycles, queries and the labels of answers, by name."""
    left = {}
    for store in (live.store.first, live.store):
        for file in sorted(path for path in store.path.rglob("*") if path.is_file()):
            name = f"{store.spec.kind}/{file.relative_to(store.path)}"
            if file.name.startswith("answers-"):
                answers = read_answers(store, int(file.stem[-4:])).by_query.values()
                left[name] = [(answer.query, answer.labels.tobytes(), answer.reason) for answer in answers]
            else:
                left[name] = "" if file.name == "timing.json" else file.read_bytes()
    asked = sorted(path for path in (live.root / "asked").rglob("*") if path.is_file())
    return left | {str(file.relative_to(live.root)): file.read_bytes() for file in asked}
