"""Experiments whose results are read, wherever these lie: of an experiment file, or of an archive."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from decomp.experiments.archives.archive import Archive, is_archive
from decomp.experiments.archives.importing import unpack
from decomp.experiments.arguments import plan_of
from decomp.experiments.description import Description
from decomp.experiments.report.axes import Axis, axes_of
from decomp.experiments.report.run_history import RunHistory, read_histories
from decomp.platform.storage.files import FilePath
from decomp.platform.storage.runs import RunStore


@dataclass(frozen=True)
class Source:
    """The results of an experiment.

    Attributes:
        description: what one must know to compare them.
        origin: name of the file that they were read from, without the folder, which is nobody else's business.
        histories: of its references and runs.
        left_out: labels of planned runs that an archive lacks, since they were not finished when it was written.
        held: what must live as long as the histories are read.
    """

    description: Description
    origin: str
    histories: tuple[RunHistory, ...]
    left_out: tuple[str, ...] = ()
    held: object = None

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self.description.name

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Measures of the annotation."""
        return axes_of(self.description.metric, self.description.seconds)

    @property
    def runs(self) -> tuple[RunHistory, ...]:
        """Histories without the references."""
        return tuple(history for history in self.histories if history.spec.kind == "run")


def names_of(sources: Sequence[Source]) -> list[str]:
    """Names that tell experiments apart: a number is added where they are equal."""
    names, taken = [], Counter[str]()
    for source in sources:
        taken[source.name] += 1
        names.append(f"{source.name} ({taken[source.name]})" if taken[source.name] > 1 else source.name)
    return names


def open_source(file: Path, overrides: Sequence[str] = ()) -> Source:
    """The results of an experiment file, or of an archive, which is unpacked into a temporary folder.

    Args:
        file: the experiment file (YAML) or archive.
        overrides: ``key=value`` texts for the experiment file.

    Raises:
        UserError: where the file, or what it names, is not in order.
    """
    if not is_archive(file):
        plan = plan_of(file, list(overrides))
        return Source(Description.of(plan), file.name, read_histories(plan.compared))
    archive = Archive.open(file)
    folder = tempfile.TemporaryDirectory(prefix="decomp-archive-", ignore_cleanup_errors=True)
    specs = unpack(archive, Path(folder.name))
    stores = [RunStore(FilePath(folder.name), spec) for spec in specs if spec.kind != "first"]
    origin = f"{file.name} (SHA-256 {archive.sha256[:12]}...)"
    manifest = archive.manifest
    return Source(manifest.experiment, origin, read_histories(stores), manifest.unfinished, folder)
