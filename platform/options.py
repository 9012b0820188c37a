"""Options of the classes that an experiment file names: type, rule, default and sentence, read off the class."""

import ast
import dataclasses
import inspect
import itertools
import re
import textwrap
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import annotated_types as at
from pydantic.fields import FieldInfo

from decomp.platform.marks import ByContent, NotIdentity

REQUIRED = inspect.Parameter.empty
"""Stands in place of the default of an option that must be given."""

WORDS = {
    int: "integer",
    float: "number",
    str: "text",
    bool: "true or false",
    type(None): "null",
    Any: "anything",
}
"""Types as an experiment file shows them."""

COMPARISONS = {at.Ge: ("ge", "at least"), at.Gt: ("gt", "above"), at.Le: ("le", "at most"), at.Lt: ("lt", "below")}


def mark_of(hint: Any) -> NotIdentity | ByContent | None:
    """What the annotation of an option says about its part in a run's identity."""
    marks = [mark for mark in get_args(hint)[1:] if isinstance(mark, NotIdentity | ByContent)]
    return marks[0] if marks and get_origin(hint) is Annotated else None


@dataclass(frozen=True)
class Option:
    """An option of a data set, learner, selector or partition."""

    name: str
    """The key in the experiment file."""

    type: str
    """What is given, in words, e.g. ``list of integers, or null``."""

    default: Any
    """The value when none is given, or `REQUIRED`."""

    rule: str
    """What else a value must fulfil, in words, e.g. ``each at least 1``; empty for no rule."""

    sentence: str
    """What the option means; empty where the class does not say."""


def options_of(cls: type) -> list[Option]:
    """All options of a class, in the order of its parameters.

    An option's type and rule are those of its annotation, ``Annotated[int, Field(ge=1)]``; its sentence is the string
    that follows the field in the source of the class or of a base class, else its entry in the section ``Attributes:``
    or ``Args:`` of the docstring.
    """
    hints, sentences = hints_of(cls), sentences_of(cls)
    return [
        Option(
            name,
            _words(hints.get(name, Any)),
            default,
            ", ".join(dict.fromkeys(_rules(hints.get(name, Any)))),
            sentences.get(name, ""),
        )
        for name, default in defaults_of(cls).items()
    ]


def defaults_of(cls: type) -> dict[str, Any]:
    """The default of every option of a class, `REQUIRED` where there is none."""
    factories = {
        field.name: field.default_factory
        for field in (dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ())
        if field.default_factory is not dataclasses.MISSING
    }
    return {
        name: factories[name]() if name in factories else parameter.default
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }


def hints_of(cls: type) -> dict[str, Any]:
    """The annotation of every option of a class, its rules included."""
    annotated = cls if dataclasses.is_dataclass(cls) else inspect.getattr_static(cls, "__init__")
    return get_type_hints(annotated, include_extras=True)


def sentences_of(cls: type) -> dict[str, str]:
    """What the source or the docstring of a class says about its attributes; a derived class has the last word."""
    sentences: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        sentences |= dict(_listed(inspect.cleandoc(base.__doc__ or ""))) | dict(_beside_fields(base))
    return {name: " ".join(sentence.split()) for name, sentence in sentences.items()}


def _listed(docstring: str) -> Iterator[tuple[str, str]]:
    section = re.search(r"^(?:Attributes|Args):\n((?:[ ]+.*\n?|\n)+)", docstring, re.MULTILINE)
    for names, sentence in re.findall(
        r"^([\w, ]+): (.*(?:\n+[ ]+.*)*)", textwrap.dedent(section[1]) if section else "", re.MULTILINE
    ):
        yield from ((name, sentence) for name in names.split(", "))


def _beside_fields(cls: type) -> Iterator[tuple[str, str]]:
    try:
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except (OSError, TypeError, SyntaxError, ValueError):  # built in, or typed into an interpreter
        return
    statements = definition.body if isinstance(definition, ast.ClassDef) else []
    for field, following in itertools.pairwise(statements):
        match field, following:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(sentence))):
                yield name, sentence


def _words(hint: Any) -> str:
    *others, last = dict.fromkeys(_types(hint))
    return f"{', '.join(others)} or {last}" if others else last


def _types(hint: Any) -> Iterator[str]:
    """The alternatives that an annotation allows, in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        yield from _types(arguments[0])
    elif origin in (Union, types.UnionType):
        for argument in arguments:
            yield from _types(argument)
    elif origin is Literal:
        yield from map(str, arguments)
    elif isinstance(hint, type) and issubclass(hint, Enum):
        yield from (str(member.value) for member in hint)
    elif origin is tuple and arguments[-1] is not Ellipsis and len({*map(_words, arguments)}) == 1:
        yield f"{len(arguments)} {_plural(arguments[0])}"
    elif origin is tuple and arguments[-1] is not Ellipsis:
        yield f"[{', '.join(_words(argument) for argument in arguments)}]"
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield f"{{{_words(arguments[0])}: {_words(arguments[1])}}}"
    elif isinstance(origin, type) and issubclass(origin, Iterable):
        yield f"list of {_plural(arguments[0])}"
    else:
        yield WORDS.get(hint, getattr(hint, "__name__", str(hint)).lower())


def _plural(hint: Any) -> str:
    one = _words(hint)
    return f"{one}s" if one in ("integer", "number", "text") else one


def _rules(hint: Any) -> Iterator[str]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        yield from _rules(arguments[0])
        for constraint in arguments[1:]:
            yield from _rule(constraint)
    elif origin in (Union, types.UnionType):
        for argument in arguments:
            yield from _rules(argument)
    elif isinstance(origin, type) and issubclass(origin, Iterable):
        members = arguments[1:] if issubclass(origin, Mapping) else arguments
        yield from dict.fromkeys(f"each {rule}" for member in members for rule in _rules(member))


def _rule(constraint: Any) -> Iterator[str]:
    """A constraint in words; for a validating function, the first line of its docstring."""
    if isinstance(constraint, FieldInfo):
        for part in constraint.metadata:
            yield from _rule(part)
    elif isinstance(constraint, at.GroupedMetadata):
        for part in constraint:
            yield from _rule(part)
    elif type(constraint) in COMPARISONS:
        attribute, words = COMPARISONS[type(constraint)]
        yield f"{words} {getattr(constraint, attribute):g}"
    elif isinstance(constraint, at.MultipleOf):
        yield f"a multiple of {constraint.multiple_of}"
    elif isinstance(constraint, at.MinLen):
        yield "not empty" if constraint.min_length == 1 else f"at least {constraint.min_length} of them"
    elif isinstance(constraint, at.MaxLen):
        yield f"at most {constraint.max_length} of them"
    elif getattr(constraint, "allow_inf_nan", None) is False:
        yield "finite"
    elif function := getattr(constraint, "func", None):
        yield from (inspect.getdoc(function) or "").rstrip(".").splitlines()[:1]
