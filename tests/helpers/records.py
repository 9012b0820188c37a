"""Records of a cycle, without a run."""

from decomp.platform.storage.records import Annotated, CycleRecord

CLASSES = ("ground", "road (wet)", "tree")


def record(scores, pixels=(1, 2, 1), delta=None, cycle=2):
    annotated = Annotated(1, 0.25, 2, sum(pixels), 0.1, tuple(pixels), 1, 7)
    return CycleRecord(
        cycle, {"miou": 0.5}, {"iou": dict(zip(CLASSES, scores, strict=True))}, annotated, delta, None, ""
    )
