"""What selectors read of predictions, declared in advance so that nothing else is computed, kept or sent."""

from dataclasses import fields
from enum import Flag, auto
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from decomp.platform.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
V = TypeVar("V", bound="DataclassInstance")


class Need(Flag):
    """What a selector reads: of the model's predictions or, for an oracle baseline, the truth."""

    NOTHING = 0
    COUNTS = auto()
    """Class counts of all candidates, hence class confidence and weights."""
    LABELS = auto()
    """The label map of a selected image."""
    UNCERTAINTY = auto()
    """The uncertainty map of a selected image, or the mean uncertainty of every candidate."""
    FEATURES = auto()
    """Bottleneck features of the candidate regions of a `JointRegionSelector`; not together with `COUNTS`."""
    GRADIENTS = auto()
    """Gradient factors of the candidate regions of a `JointRegionSelector`; not together with `COUNTS`, `FEATURES`."""
    MAPS = auto()
    """Further maps of a selected image, made one by one while its prediction is in memory; not together with `COUNTS`,
    since class weights are known only when all predictions are made."""
    ANNOTATED = auto()
    """Features of all annotated regions, for a `JointRegionSelector` with `FEATURES`; images that are no candidates are
    predicted for them too."""
    TRUTH = auto()
    """The true labels of an image: what reads them is an oracle baseline, which nobody could run in practice."""

    @property
    def predictions(self) -> "Need":
        """What of this is read of the model's predictions: all but the truth."""
        return self & ~Need.TRUTH

    def __str__(self) -> str:
        return " | ".join(f"Need.{member.name}" for member in self) or "Need.NOTHING"


class UndeclaredNeed(UserError):
    """A selector reads what it did not declare.

    Attributes:
        field: what it reads.
        need: what it must declare for that.
    """

    def __init__(self, field: str, need: Need) -> None:
        super().__init__(field, need)
        self.field = field
        self.need = need

    def __str__(self) -> str:
        return f"{self.field} was read by a selector that does not declare it; declare needs = {self.need}."


class Declared(Generic[T]):
    """A field of a dataclass that is None where no selector declared it, and then raises `UndeclaredNeed` when read.

    Args:
        needs: a selector that reads it must declare one of these.
        beside: name of a field of the same need; where that one is given, None is a valid value of this one.
    """

    def __init__(self, *needs: Need, beside: str | None = None) -> None:
        self.needs = needs
        self._beside = beside

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name
        self._reader = f"{owner.__name__}.{name}"

    @overload
    def __get__(self, instance: None, owner: type) -> None: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> T | None:
        if instance is None:  # the dataclass asks for the field's default
            return None
        value: Any = vars(instance)[self._name]
        if value is None and (self._beside is None or vars(instance)[self._beside] is None):
            raise UndeclaredNeed(self._reader, self.needs[0])
        return value  # type: ignore[no-any-return]

    def __set__(self, instance: object, value: T | None) -> None:
        vars(instance)[self._name] = value


def declared(view: V, needs: Need) -> V:
    """A copy of a dataclass in which all fields that need something else are None."""
    values = {field.name: vars(view)[field.name] for field in fields(view)}
    for name, attribute in vars(type(view)).items():
        if isinstance(attribute, Declared) and not any(need in needs for need in attribute.needs):
            values[name] = None
    return type(view)(**values)
