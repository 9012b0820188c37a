"""What an experiment file may name: `decomp list` prints all of it, `decomp list NAME` the options of one."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from pydantic import TypeAdapter
from rich.box import SIMPLE
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from decomp.platform.annotation import FORMATS
from decomp.platform.annotation.formats import AnnotationFormat
from decomp.platform.components import build_selectors, reads_truth, resolve
from decomp.platform.datasets import DATASETS, Dataset
from decomp.platform.errors import UserError, nearest
from decomp.platform.grid import Component, Sampler
from decomp.platform.learners import LEARNERS, Learner
from decomp.platform.names import RIVALS, SAMPLERS, SOURCES
from decomp.platform.options import REQUIRED, Option, options_of
from decomp.platform.partitions import PARTITIONS, Partition
from decomp.platform.predictions import Measure
from decomp.platform.samplers import IMAGE_SELECTORS, REGION_SELECTORS, ImageSelector, Need, RegionSelector


class Kind(NamedTuple):
    """A kind of classes that an experiment file names."""

    name: str
    known: Mapping[str, str]
    contract: type


IMAGES = Kind("image selector", IMAGE_SELECTORS, ImageSelector)
REGIONS = Kind("region selector", REGION_SELECTORS, RegionSelector)
KINDS = (
    IMAGES,
    REGIONS,
    Kind("partition", PARTITIONS, Partition),
    Kind("data set", DATASETS, Dataset),
    Kind("learner", LEARNERS, Learner),
    Kind("annotation format", FORMATS, AnnotationFormat),
)


READS = {
    Need.TRUTH: "the truth",
    Need.COUNTS: "class counts",
    Need.LABELS: "labels",
    Need.UNCERTAINTY: "uncertainty",
    Need.MAPS: "further maps of the prediction",
    Need.FEATURES: "features",
    Need.GRADIENTS: "gradients",
    Need.ANNOTATED: "features of annotated regions",
}
"""What selectors read, in words."""


class Facts(NamedTuple):
    """What one must know of a sampler before one chooses it.

    Attributes:
        reads: what its selectors read.
        cost: what is predicted for it in a cycle, and what it keeps or sends beside regions.
        source: who it is from; empty for samplers at random.
    """

    reads: str
    cost: str
    source: str


def facts_of(sampler: Sampler) -> Facts:
    """The facts of a sampler, from what its selectors declare."""
    by_image, by_region = build_selectors(sampler)
    needs = by_image.needs | by_region.needs
    words = READS | ({Need.UNCERTAINTY: _measure(sampler)} if sampler.uncertainty else {})
    reads = ", ".join(word for need, word in words.items() if need in needs) or "nothing"
    return Facts(reads, _cost(sampler, by_image.needs, by_region.needs), SOURCES.get(sampler.name, ""))


def table_of_names() -> Table:
    """All that comes with decomp and has a name, a line each: samplers, selectors, data sets and so on."""
    table = Table(box=None, show_header=False, padding=(0, 2))
    for name, sampler in _samplers().items():
        table.add_row("sampler", name, _composition(sampler))
    for kind in KINDS:
        for name in kind.known:
            table.add_row(kind.name, name, _summary(resolve(kind.name, name, kind.known, kind.contract)))
    return table


def tables_of_options(name: str) -> RenderableType:
    """The options of everything that has a name; for a sampler, also those of its two selectors.

    Args:
        name: of a sampler, selector, partition, data set, learner or annotation format, or ``module:Class``.

    Raises:
        UserError: if nothing has that name.
    """
    if ":" in name:
        cls = resolve("class", name, {}, object)
        kinds = [kind.name for kind in KINDS if issubclass(cls, kind.contract)]
        if not kinds:
            raise UserError(f"{name} is none of these: {', '.join(kind.name for kind in KINDS)}; make it one.")
        return _table(f"{' and '.join(kinds)} {name}", _summary(cls), options_of(cls))
    tables = []
    classes = {(kind.name, name): kind for kind in KINDS if name in kind.known}
    if name in _samplers():
        sampler = _samplers()[name]
        tables = [_table(f"sampler {name}", _in_words(sampler), _sampler_options())]
        selectors = {(IMAGES.name, sampler.images.name): IMAGES, (REGIONS.name, sampler.regions.name): REGIONS}
        classes = selectors | classes
    for (_, class_name), kind in classes.items():
        cls = resolve(kind.name, class_name, kind.known, kind.contract)
        tables.append(_table(f"{kind.name} {class_name}", _summary(cls), options_of(cls)))
    if not tables:
        known = dict.fromkeys([*_samplers(), *(name for kind in KINDS for name in kind.known)])
        raise UserError(
            f"There is nothing of the name {name!r}{nearest(name, known)}; type 'decomp list' for all names, or give a "
            f"class of your own as 'module:Class'."
        )
    return Group(*tables)


def _measure(sampler: Sampler) -> str:
    measure = sampler.uncertainty
    return measure.name if isinstance(measure, Component) else str(measure).replace("_", " ")


def _cost(sampler: Sampler, of_images: Need, of_regions: Need) -> str:
    if not (of_images | of_regions).predictions:
        return "predicts nothing"
    # As in a run: without image scores or class weights, the images are selected before anything is predicted.
    of_all = of_images or Need.COUNTS in of_regions or sampler.images.name == "all"
    several = isinstance(sampler.uncertainty, Measure) and sampler.uncertainty.over_passes
    annotated = Need.ANNOTATED in of_regions
    cost = f"predicts the {'candidate' if of_all else 'selected'} images{' and all with annotated regions' * annotated}"
    cost += " in several passes" * several
    if Need.COUNTS in of_regions:
        cost += ", keeps their labels till the classes are weighed"
    if Need.FEATURES in of_images:
        cost += ", sends their features"
    for need, what in ((Need.FEATURES, "features"), (Need.GRADIENTS, "gradients")):
        if need in of_regions:
            cost += f", sends {what} of candidate{' and annotated' * annotated} regions"
    return cost


def _samplers() -> dict[str, Sampler]:
    """All samplers that have a name."""
    adapter = TypeAdapter(Sampler)
    return {name: adapter.validate_python({"sampler": name}) for name in (*SAMPLERS, *RIVALS)}


def _composition(sampler: Sampler) -> str:
    """What a sampler consists of, and whether nobody could run it in practice."""
    regions = sampler.regions
    options = ", ".join(f"{key}: {value:.3g}" for key, value in regions.options.items())
    words = f"images: {sampler.images.name}, regions: {regions.name}{f' ({options})' if options else ''}"
    words += f", uncertainty: {sampler.uncertainty}" if sampler.uncertainty else ""
    return words + " (oracle baseline: reads the truth)" * reads_truth(sampler)


def _in_words(sampler: Sampler) -> str:
    """What a sampler consists of, and its facts."""
    facts = facts_of(sampler)
    words = f"{_composition(sampler)}; reads {facts.reads}; {facts.cost}"
    return words + (f" ({facts.source})" if facts.source else "")


def _sampler_options() -> list[Option]:
    """The keys of a sampler beside its selectors, as a file writes them."""
    options = [o for o in options_of(Sampler) if o.name not in ("images", "regions", "sampler")]
    as_written: dict[str, dict[str, Any]] = {
        "name": {"default": None},
        "tau": {"type": "number or {cycle: number}", "rule": "at least 0, below 1", "default": 0.7},
    }
    return [replace(option, **as_written.get(option.name, {})) for option in options]


def _table(heading: str, summary: str, options: list[Option]) -> RenderableType:
    lines: list[RenderableType] = [Text(heading, style="bold"), Text(summary)]
    if not options:
        return Group(*lines, Text("It has no options.\n"))
    table = Table("option", "value", "default", "meaning", box=SIMPLE, padding=(0, 1, 0, 0))
    for option in options:
        value = ", ".join(filter(None, [option.type, option.rule]))
        meaning = re.sub(r"\bNone\b", "null", option.sentence).replace("``", "`")
        table.add_row(*map(Text, (option.name, value, _written(option.default), meaning)))
    for column, width in zip(table.columns, (20, 24, 12, None), strict=True):
        column.max_width, column.overflow = width, "fold"
    return Group(*lines, table)


def _summary(cls: type) -> str:
    """The first line of a class's docstring."""
    return (cls.__doc__ or "").strip().partition("\n")[0]


def _written(default: Any) -> str:
    """A default as an experiment file writes it."""
    if default is REQUIRED:
        return "required"
    if default is None or isinstance(default, bool):
        return {None: "null", True: "true", False: "false"}[default]
    if isinstance(default, Mapping):
        return f"{{{', '.join(f'{key}: {_written(value)}' for key, value in default.items())}}}"
    if isinstance(default, list | tuple):
        return f"[{', '.join(map(_written, default))}]"
    return str(default)
