"""Which samplers of an experiment differ in one thing only, so that comparing them shows what it does."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from decomp.platform.spec import Component, Sampler


class Varied(StrEnum):
    """What the samplers of an ablation differ in."""

    IMAGES = "image selection"
    REGIONS = "region selection"
    TAU = "confidence threshold"


@dataclass(frozen=True)
class Ablation:
    """Samplers that are equal but for one thing.

    Attributes:
        varied: what they differ in.
        fixed: what they have in common, in words.
        members: their names and what each has in place of the others', in order of the samplers; two at least.
    """

    varied: Varied
    fixed: str
    members: tuple[tuple[str, str], ...]


def ablations(samplers: Sequence[Sampler]) -> tuple[Ablation, ...]:
    """All groups of at least two samplers that differ in their images, their regions or their thresholds alone."""
    return (
        *_groups(Varied.REGIONS, samplers, lambda s: (_words(s.images), *_rest(s), s.tau), _regions, _by_images),
        *_groups(Varied.IMAGES, samplers, lambda s: (_words(s.regions), *_rest(s), s.tau), _images, _by_regions),
        *_groups(Varied.TAU, samplers, lambda s: (_words(s.images), _words(s.regions), *_rest(s)), _tau, _by_both),
    )


def _groups(
    varied: Varied,
    samplers: Sequence[Sampler],
    common: Callable[[Sampler], Hashable],
    own: Callable[[Sampler], str],
    fixed: Callable[[Sampler], str],
) -> list[Ablation]:
    groups: dict[Hashable, dict[str, Sampler]] = {}
    for sampler in samplers:
        # Two samplers that differ in nothing but their names show nothing; the first stands for both.
        groups.setdefault(common(sampler), {}).setdefault(own(sampler), sampler)
    return [
        Ablation(
            varied, fixed(next(iter(group.values()))), tuple((sampler.name, what) for what, sampler in group.items())
        )
        for group in groups.values()
        if len(group) > 1
    ]


def _rest(sampler: Sampler) -> tuple[Hashable, ...]:
    return tuple(sorted(sampler.emphasis.items())), sampler.background, sampler.uncertainty


def _images(sampler: Sampler) -> str:
    return _words(sampler.images)


def _regions(sampler: Sampler) -> str:
    return _words(sampler.regions)


def _tau(sampler: Sampler) -> str:
    if len(sampler.tau) == 1:
        return f"{sampler.tau[0][1]:g}"
    return ", ".join(f"{tau:g} from cycle {cycle}" for cycle, tau in sampler.tau)


def _by_images(sampler: Sampler) -> str:
    return f"images by {_words(sampler.images)}{_special(sampler)}{_threshold(sampler)}"


def _by_regions(sampler: Sampler) -> str:
    return f"regions by {_words(sampler.regions)}{_special(sampler)}{_threshold(sampler)}"


def _by_both(sampler: Sampler) -> str:
    return f"images by {_words(sampler.images)}, regions by {_words(sampler.regions)}{_special(sampler)}"


def _threshold(sampler: Sampler) -> str:
    return "" if _tau(sampler) == "0.7" else f", threshold {_tau(sampler)}"


def _special(sampler: Sampler) -> str:
    parts = [f"{name} emphasised by {factor:g}" for name, factor in sorted(sampler.emphasis.items())]
    parts += [f"{sampler.background} never drawn"] if sampler.background is not None else []
    parts += [f"uncertainty by {sampler.uncertainty}"] if sampler.uncertainty is not None else []
    return "".join(f", {part}" for part in parts)


def _words(component: Component) -> str:
    options = ", ".join(f"{key} {value}" for key, value in sorted(component.options.items()))
    return f"{component.name} ({options})" if options else component.name
