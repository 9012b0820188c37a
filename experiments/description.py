"""What one must know of an experiment to compare its results, apart from the results."""

from collections.abc import Mapping
from dataclasses import field

from pydantic.dataclasses import dataclass

from decomp.experiments.plan import Plan
from decomp.experiments.report.design import Design, design_of
from decomp.experiments.schema import AnnotationSeconds


@dataclass(frozen=True)
class Description:
    """An experiment in a few words.

    Attributes:
        name: its name.
        metric: the test metric.
        classes: names of the data set's classes.
        background: the class that is no foreground; None where all classes are.
        design: which pairs of samplers are tested, over which blocks.
        scored: the labels of every set of classes that is scored by its Dice; empty where it is single classes by
            another score.
        seconds: what an expert's time is reckoned from.
    """

    name: str
    metric: str
    classes: tuple[str, ...]
    background: str | None = None
    design: Design = field(default_factory=Design)
    seconds: AnnotationSeconds = field(default_factory=AnnotationSeconds)
    scored: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan) -> "Description":
        """The description of a planned experiment; its background is what a sampler never draws, or so called."""
        classes = tuple(plan.dataset.classes)
        named = [sampler.background for sampler in plan.experiment.samplers if sampler.background is not None]
        background = next((name for name in [*named, "background"] if name in classes), None)
        experiment = plan.experiment
        seconds = experiment.annotation_seconds
        scored = {name: tuple(map(int, labels)) for name, labels in plan.dataset.scored.items()}
        return cls(experiment.name, plan.metric, classes, background, design_of(plan), seconds, scored)
