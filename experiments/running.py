"""The sweep of `decomp run`: what is missing is computed on Ray, shown, told to other terminals and mirrored."""

from collections.abc import Mapping, Sequence
from contextlib import closing

from decomp.actors import session
from decomp.actors.coordinator import Outcome
from decomp.actors.progress import ProgressReport
from decomp.actors.scheduler import Sweep
from decomp.experiments.console import SweepProgress
from decomp.experiments.plan import Plan
from decomp.experiments.status import StatusWriter
from decomp.experiments.tracking.mirror import MirrorThread
from decomp.platform.storage.runs import RunStore


def compute(
    plan: Plan, missing: Mapping[str, RunStore], mirror: MirrorThread, address: str | None, *, verbose: bool
) -> list[Outcome]:
    """Compute the missing runs, given by label; returns those that failed."""
    root = plan.experiment.root
    session.start(address, verbose=verbose)
    cycles = {label: store.spec.cycles for label, store in missing.items()}
    with SweepProgress(cycles) as progress, closing(StatusWriter(root)) as status_writer:

        def listen(report: ProgressReport, ended: Sequence[Outcome]) -> None:
            progress.update(report, ended)
            # Runs that end too: what the progress actor knew is lost with it.
            for label in dict.fromkeys([*report.committed, *(outcome.spec.label for outcome in ended)]):
                mirror.submit(missing[label])
            failures = {outcome.spec.label: outcome.error for outcome in ended if outcome.error is not None}
            status_writer.update(report.active, failures)

        outcomes = Sweep(root, plan.specs, plan.experiment.resources).run(listen)
    session.stop()
    return [outcome for outcome in outcomes if outcome.error is not None]
