"""What the paper says, and the pairs that show whether it holds here.

Reference:
    Qiu et al., Decomposition Sampling for Efficient Region Annotations in Active Learning, 2025.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from decomp.experiments.study.measures import (
    BETTER_HALF,
    DENSE,
    FIRST,
    HALVES,
    LAST,
    SPARSE,
    UNRELATED,
    Measure,
    better_half,
    confidence,
    dense_and_sparse,
    gains,
    rare_annotated,
    rare_scores,
)


class Expectation(StrEnum):
    """What a claim says of a pair."""

    BETTER = "the first is better"
    ALIKE = "hardly a difference"
    LITTLE = "the first is hardly better"
    OPEN = "open"


@dataclass(frozen=True)
class Question:
    """A pair that is compared.

    Attributes:
        first: name of a sampler, or of what stands for one in the measure.
        second: name of another.
        expected: what the claim says of first minus second.
    """

    first: str
    second: str
    expected: Expectation = Expectation.BETTER

    @property
    def tested(self) -> bool:
        """Whether it is answered by a test, and not by whether the difference is small."""
        return self.expected in (Expectation.BETTER, Expectation.OPEN)


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Attributes:
        name: stem of its figure.
        title: what it is about.
        paper: what the paper says.
        measured: what is measured here.
        axis: what differences are, and what it means to lie right of 0.
        measure: gives the values of a data set.
        questions: the pairs; p is corrected over those that are tested.
    """

    name: str
    title: str
    paper: str
    measured: str
    axis: str
    measure: Measure
    questions: tuple[Question, ...]

    @property
    def of_gains(self) -> bool:
        """Whether it is about learning curves, which are drawn over a measure of the annotation."""
        return self.measure in (gains, better_half)


RIVALS = ("rand", "uncert", "divers-cluster", "divers-core-set", "badge")
"""The samplers that the paper compares DECOMP with."""

THRESHOLDS = ("decomp_tau-0.3", "decomp_tau-0.5")

GAIN = (
    "Gain: the mean height of the learning curve over the annotation that the curves of all samplers cover, from 0 for "
    "the shared first cycle to 1 for full annotation."
)
OF_GAINS = "difference of gains; right of 0 the first is better"


def _budget_claim(name: str, axis: str, over: str, decomp: Expectation) -> Claim:
    return Claim(
        name,
        f"Dense or sparse, over {over}",
        "With as many regions in a cycle, fewer images with more regions each serve RAND and UNCERT better than more "
        "images with fewer regions each; DECOMP is robust to it, and what takes an expert's time is to open images.",
        f"Gain, over the {over} that both budgets cover; the dense budget minus the sparse one, of the same sampler "
        "and repeat.",
        OF_GAINS,
        dense_and_sparse(axis),
        tuple(
            Question(f"{sampler}, {DENSE}", f"{sampler}, {SPARSE}", expected)
            for sampler, expected in (
                ("rand", Expectation.BETTER),
                ("uncert", Expectation.BETTER),
                ("decomp", decomp),
            )
        ),
    )


CLAIMS = (
    Claim(
        "rivals",
        "DECOMP against each rival of the paper",
        "DECOMP outperforms all of them.",
        GAIN,
        OF_GAINS,
        gains,
        tuple(Question("decomp", rival) for rival in RIVALS),
    ),
    Claim(
        "images",
        "Its image selection",
        "DECOMP's images are better than uncertain ones, whatever chooses the regions in them.",
        f"{GAIN} The regions are those of UNCERT in the first pair, those of DECOMP in the second.",
        OF_GAINS,
        gains,
        (Question("decomp_uncert", "uncert"), Question("decomp", "uncert_decomp")),
    ),
    Claim(
        "regions",
        "Its region selection",
        "DECOMP's regions in uncertain images are better than those of UNCERT and of DIVERS.",
        f"{GAIN} The images are uncertain ones, those of DECOMP in the last pair.",
        OF_GAINS,
        gains,
        (
            *(Question("uncert_decomp", rival) for rival in RIVALS if rival != "rand"),
            Question("decomp", "decomp_uncert"),
        ),
    ),
    Claim(
        "both",
        "Both halves together",
        "Both halves together do not always gain much over one of them: their effects overlap.",
        f"{GAIN} DECOMP minus the better of its two halves, which are its images with the regions of UNCERT, and the "
        "reverse: the one of higher mean gain in the data set. As the same results choose it, the difference comes out "
        "a little too small. Each half by itself is among the pairs of the two claims above.",
        OF_GAINS,
        better_half,
        (Question("decomp", BETTER_HALF, Expectation.LITTLE),),
    ),
    _budget_claim("budgets", "share", "annotated share", Expectation.ALIKE),
    _budget_claim("budgets-by-time", "hours", "expert time", Expectation.BETTER),
    Claim(
        "threshold",
        "Insensitivity to the threshold",
        "DECOMP is largely insensitive to its confidence threshold.",
        f"{GAIN} A lower threshold minus the default of 0.7.",
        OF_GAINS,
        gains,
        tuple(Question(lower, "decomp", Expectation.ALIKE) for lower in THRESHOLDS),
    ),
    Claim(
        "confidence",
        "Confidence against true score",
        "Class confidence goes with the true score of the classes, even in the earliest cycles.",
        "Spearman's correlation over classes of DECOMP's class confidence with the test score of the same model, at "
        "the first and the last selection of a run, against 0.",
        "rank correlation; right of 0 confidence and score rise together",
        confidence,
        (Question(FIRST, UNRELATED), Question(LAST, UNRELATED)),
    ),
    Claim(
        "rare-annotated",
        "Rare classes: what is annotated",
        "DECOMP annotates more of the rare classes.",
        "Share of the rare classes' true pixels (ROIs) that is annotated after the last cycle. All samplers annotate "
        "as many regions, save where images hold fewer than may be annotated, as slides do.",
        "difference of annotated shares; right of 0 the first annotates more",
        rare_annotated,
        tuple(Question("decomp", rival) for rival in RIVALS[:2]),
    ),
    Claim(
        "rare-scores",
        "Rare classes: how well they are recognised",
        "DECOMP improves the scores of the rare classes over RAND and UNCERT.",
        "Mean test score of the rare classes after the last cycle.",
        "difference of scores; right of 0 the first is better",
        rare_scores,
        tuple(Question("decomp", rival) for rival in RIVALS[:2]),
    ),
)


def new_rivals(samplers: Iterable[str]) -> Claim:
    """DECOMP against the samplers that the paper does not know.

    Args:
        samplers: names of all samplers that are compared, without oracle baselines.
    """
    known = {"decomp", *RIVALS, *HALVES, *THRESHOLDS}
    return Claim(
        "new-rivals",
        "The new rivals",
        "The paper does not compare DECOMP with these, so nothing is claimed.",
        f"{GAIN} Those that select in the whole pool may spread their regions over many more images, so they are never "
        "compared with the others over images or slides.",
        OF_GAINS,
        gains,
        tuple(Question("decomp", name, Expectation.OPEN) for name in samplers if name not in known),
    )
