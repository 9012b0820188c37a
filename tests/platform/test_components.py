import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated

import pytest
from helpers.toys import Blobs, Centroids
from pydantic import Field

from decomp.platform.components import build_dataset, build_learner
from decomp.platform.errors import UserError
from decomp.platform.grid import Component
from decomp.platform.learners import LEARNERS


@dataclass(frozen=True)
class Ruled(Centroids):
    """A learner whose options have rules."""

    iterations: Annotated[int, Field(ge=1)] = 10
    widths: tuple[Annotated[int, Field(ge=1)], ...] = (8,)
    batch: Annotated[int, Field(ge=1)] | None = None


def build(**options):
    return build_learner(Component(f"{__name__}:Ruled", options))


def test_options_that_fulfil_their_rules_are_passed():
    learner = build(iterations=1, widths=[3, 4], batch=None)
    assert (learner.iterations, learner.widths, learner.batch) == (1, (3, 4), None)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"iterations": 0}, "learner.iterations: input should be greater than or equal to 1, got 0."),
        ({"widths": [8, 0]}, "learner.widths[1]: input should be greater than or equal to 1, got 0."),
        ({"batch": 0}, "learner.batch: input should be greater than or equal to 1, got 0."),
    ],
)
def test_a_rule_in_an_annotation_holds(options, sentence):
    with pytest.raises(UserError) as caught:
        build(**options)
    assert str(caught.value) == sentence


def test_all_wrong_options_of_a_component_are_reported_at_once():
    with pytest.raises(UserError) as caught:
        build(iterations=0, widths="wide", itertions=3)
    first, second, third = str(caught.value).splitlines()
    assert first.startswith("learner.iterations: ")
    assert second.startswith("learner.widths: input should be a valid tuple")
    assert "learner.itertions: " in third
    assert "did you mean 'iterations'" in third


def test_a_missing_option_is_named_even_beside_a_wrong_one():
    with pytest.raises(UserError) as caught:
        build_learner(Component(f"{__name__}:Demanding", {"deep": 1}))
    assert [line.split(";")[0] for line in str(caught.value).splitlines()] == [
        f"learner.deep: {__name__}:Demanding has no such option (did you mean 'depth'?)",
        f"learner: {__name__}:Demanding needs the option 'depth'",
    ]


class Demanding(Centroids):
    def __init__(self, depth: int) -> None:
        super().__init__()


class Many(Blobs):
    """As many classes as there are labels, of which one means that a pixel is ignored."""

    classes = tuple(f"class {number}" for number in range(256))


class None_(Blobs):
    classes = ()


@pytest.mark.parametrize(("name", "count"), [("Many", 256), ("None_", 0)])
def test_numbers_of_classes_that_labels_cannot_tell_are_refused(name, count):
    with pytest.raises(UserError, match=f"{name} has {count} classes, but labels are 0 to 254, since 255 means"):
        build_dataset(Component(f"{__name__}:{name}", {}))


@dataclass(frozen=True)
class Named(Blobs):
    """Classes of any names."""

    classes: tuple[str, ...] = ()


@pytest.mark.parametrize("names", [("sky", ""), ("sky", " "), ("sky", "a\nb"), ("sky", "\x1b[31m"), ("sky", "sky")])
def test_class_names_that_cannot_be_told_apart_are_refused(names):
    with pytest.raises(UserError, match=r"Named calls class 1 .*; give each class a name of its own, on one line"):
        build_dataset(Component(f"{__name__}:Named", {"classes": names}))


def test_learners_are_built_without_importing_torch():
    code = (
        "import sys\n"
        "from decomp.platform.components import build_learner\n"
        "from decomp.platform.learners import LEARNERS\n"
        "from decomp.platform.spec import Component\n"
        "for name in LEARNERS:\n"
        "    build_learner(Component(name))\n"
        "    print([name for library in ('torch', 'nnunetv2', 'timm') if library in sys.modules])\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["[]"] * len(LEARNERS)
