import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import AfterValidator, Field

from decomp.platform.options import REQUIRED, options_of
from decomp.platform.predictions import Measure


def even(number: int) -> int:
    """an even number."""
    if number % 2:
        raise ValueError("give an even number")
    return number


@dataclass(frozen=True)
class Base:
    """A base class.

    Attributes:
        seed: of the data.
        low, high: limits of
            the values.
        rate: said twice.
    """

    seed: int
    low: float = 0.0
    high: float = math.inf
    rate: Annotated[float, Field(gt=0, le=1)] = 0.5


@dataclass(frozen=True)
class Derived(Base):
    """A derived class."""

    kind: ClassVar[str] = "no option"
    """What is no option."""

    rate: Annotated[float, Field(gt=0, le=1)] = 0.25
    """The derived
    class's rate."""

    widths: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (64,)
    """Neurons per hidden layer."""

    mode: Literal["2d", "3d"] | None = None
    measure: Measure = Measure.ENTROPY
    factors: Mapping[str, Annotated[float, Field(ge=0)]] = field(default_factory=lambda: {"a": 1.0})
    batch: Annotated[int, AfterValidator(even)] = 2
    window: tuple[float, float] = (0.0, 1.0)
    pair: tuple[int, str] = (1, "a")


class Plain:
    """A class that is no dataclass.

    Args:
        depth: how deep it is.
    """

    def __init__(self, depth: Annotated[int, Field(ge=1)], *args: int, flag: bool = False, **more: int) -> None:
        self.depth = depth


class Bare:
    pass


def by_name(cls):
    return {option.name: option for option in options_of(cls)}


def test_options_come_in_the_order_of_the_parameters():
    assert list(by_name(Derived)) == [
        *("seed", "low", "high", "rate", "widths", "mode", "measure", "factors", "batch", "window", "pair")
    ]


@pytest.mark.parametrize(
    ("name", "type_", "rule"),
    [
        ("seed", "integer", ""),
        ("rate", "number", "above 0, at most 1"),
        ("widths", "list of integers", "each at least 1, not empty"),
        ("mode", "2d, 3d or null", ""),
        ("measure", "entropy, least_confidence, margin, expected_entropy or mutual_information", ""),
        ("factors", "{text: number}", "each at least 0"),
        ("batch", "integer", "an even number"),
        ("window", "2 numbers", ""),
        ("pair", "[integer, text]", ""),
    ],
)
def test_types_and_rules_are_told_in_words(name, type_, rule):
    option = by_name(Derived)[name]
    assert (option.type, option.rule) == (type_, rule)


def test_defaults_of_factories_are_made_and_what_has_none_is_required():
    options = by_name(Derived)
    assert options["factors"].default == {"a": 1.0}
    assert options["seed"].default is REQUIRED


def test_sentences_stand_beside_the_field_or_in_the_docstring_and_the_derived_class_has_the_last_word():
    options = by_name(Derived)
    assert options["rate"].sentence == "The derived class's rate."
    assert options["widths"].sentence == "Neurons per hidden layer."
    assert options["seed"].sentence == "of the data."
    assert options["low"].sentence == options["high"].sentence == "limits of the values."
    assert options["mode"].sentence == ""
    assert by_name(Base)["rate"].sentence == "said twice."


def test_classes_that_are_no_dataclasses_have_the_options_of_their_constructor():
    depth, flag = options_of(Plain)
    assert (depth.name, depth.type, depth.rule, depth.sentence) == ("depth", "integer", "at least 1", "how deep it is.")
    assert (flag.name, flag.type, flag.default) == ("flag", "true or false", False)
    assert options_of(Bare) == []


def test_a_class_without_source_has_options_without_sentences():
    namespace = {"dataclass": dataclass}
    exec("@dataclass\nclass Typed:\n    size: int = 3\n    'How large.'\n", namespace)
    (size,) = options_of(namespace["Typed"])
    assert (size.name, size.default, size.sentence) == ("size", 3, "")
