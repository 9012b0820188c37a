"""`decomp submit`: an experiment as a job of SLURM, by a batch script that stays beside the results.

Either an array of jobs, each of which computes runs that nobody else has claimed, or one Ray over an allocation.
"""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from math import ceil
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from decomp.experiments.arguments import File, Overrides, check_data, plan_of
from decomp.experiments.console import program
from decomp.experiments.plan import Plan
from decomp.platform.errors import UserError

WARNING = 180
"""Seconds before its time limit when a job is told: a driver ends within half a minute, then the job is requeued."""

HEAD = """\
#!/bin/bash
# Written by 'decomp submit'; change what you like, then type: sbatch $script
$options

what=($what)
python=($python)
decomp=("$${python[@]}" -m decomp.experiments)
export RAY_TMPDIR=/tmp/ray-$$SLURM_JOB_ID
mkdir -p -m 700 "$$RAY_TMPDIR"
trap 'rm -rf "$$RAY_TMPDIR"' EXIT

# Before its time limit, and when it is cancelled or preempted, the job is told; committed cycles are kept.
end() {
    [ -n "$${driver:-}" ] || { echo "The job is to end before it has begun; give it more --time."; exit 143; }
    kill -TERM $$driver 2>/dev/null
}
trap 'again=1; end' USR1
trap end TERM

cycles() { "$${decomp[@]}" status "$${what[@]}" | grep -o '[0-9]* of [0-9]* cycles'; }
before=$$(cycles)

"""

ALONE = """
"${decomp[@]}" run "${what[@]}" &
driver=$!
"""

RAY = """
# One Ray over the allocation: a secret, ports and a folder of its own, the job's cores and GPUs, and the address that
# other nodes see (set ip to another one if they reach each other by a faster network). It ends at once, not drained.
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 RAY_raylet_start_wait_time_s=180
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0
export RAY_AUTH_TOKEN=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n')
head=$(hostname)
ip=$(getent ahostsv4 "$head" | awk '$1 !~ /^127[.]/ {print $1; exit}')
ip=${ip:-$(hostname --all-ip-addresses | awk '{print $1}')}
read -r port client < <("${python[@]}" -c '
import socket
ports = [socket.create_server(("", 0)) for _ in range(2)]
print(*(port.getsockname()[1] for port in ports))')
ray=("${python[@]}" -m ray.scripts.scripts)
node=(--num-cpus="$SLURM_CPUS_PER_TASK" --min-worker-port=0 --max-worker-port=0 --dashboard-agent-listen-port=0 --block)
on=(srun --overlap --export=ALL --cpus-per-task="$SLURM_CPUS_PER_TASK")

"${on[@]}" --nodes=1 --ntasks=1 --nodelist="$SLURMD_NODENAME" \\
    "${ray[@]}" start --head --node-ip-address="$ip" --port="$port" --ray-client-server-port="$client" \\
    --include-dashboard=false "${node[@]}" &
started=$!
until "${ray[@]}" health-check --address "$ip:$port" >/dev/null 2>&1; do
    kill -0 $started 2>/dev/null || { echo "Ray's head has not started; see above."; exit 1; }
    sleep 2
done
others=$((SLURM_JOB_NUM_NODES - 1))
if [ $others -gt 0 ]; then
    "${on[@]}" --nodes=$others --ntasks=$others --exclude="$SLURMD_NODENAME" \\
        sh -c 'mkdir -p -m 700 "$RAY_TMPDIR"; trap : TERM; "$@" & wait; wait; rm -rf "$RAY_TMPDIR"' \\
        sh "${ray[@]}" start --address="$ip:$port" "${node[@]}" &
fi
"${decomp[@]}" run "${what[@]}" --address "$ip:$port" &
driver=$!
"""

TAIL = """
wait $driver; status=$?
while kill -0 $driver 2>/dev/null; do wait $driver; status=$?; done

if [ -n "${again:-}" ]; then
    if [ "$(cycles)" = "$before" ]; then
        echo "No cycle was committed within the time limit, so the job is not started again; give it more --time."
        exit 1
    fi
    # The last job of an array has the number of the whole array.
    scontrol requeue "${SLURM_ARRAY_TASK_ID:+${SLURM_ARRAY_JOB_ID}_}${SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID}"
fi
exit $status
"""


@dataclass(frozen=True)
class Request:
    """What a job, or each of an array, asks SLURM for.

    Attributes:
        array: number of jobs, each with one node; None for a single job.
        nodes: nodes of one job with one Ray; None for a job without.
        time, partition: as sbatch takes them; None for the cluster's default.
        cpus: cores of each node.
        gpus: GPUs of each node.
        further: any other options of sbatch, as typed.
    """

    array: int | None = None
    nodes: int | None = None
    time: str | None = None
    cpus: int = 1
    gpus: int = 0
    partition: str | None = None
    further: Sequence[str] = ()

    def options(self, name: str, output: Path) -> list[str]:
        """The options of sbatch, a line each."""
        lines = [
            f"--job-name={name}",
            f"--chdir={shlex.quote(str(Path.cwd()))}",
            f"--output={shlex.quote(str(output))}",
        ]
        lines += [f"--array=0-{self.array - 1}"] if self.array is not None else []
        lines += [f"--nodes={self.nodes or 1}", "--ntasks-per-node=1", f"--cpus-per-task={self.cpus}"]
        lines += [f"--gpus-per-node={self.gpus}"] if self.gpus else []
        lines += [f"--{key}={value}" for key, value in (("time", self.time), ("partition", self.partition)) if value]
        lines += ["--requeue", "--open-mode=append", f"--signal=B:USR1@{WARNING}"]
        for option in self.further:
            if option.startswith("-"):
                lines.append(option)
            else:
                lines[-1] += f" {shlex.quote(option)}"
        return lines


def submit(
    file: File,
    overrides: Overrides = None,
    array: Annotated[int | None, typer.Option(min=1, help="Jobs that share the runs, on one node each.")] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="Nodes of one job, with one Ray over all of them.")] = None,
    time: Annotated[str | None, typer.Option(help="Time limit of a job, e.g. 24:00:00.")] = None,
    cpus: Annotated[int | None, typer.Option(min=1, help="Cores of each node; by default what a run needs.")] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="GPUs of each node; by default what a run needs.")] = None,
    partition: Annotated[str | None, typer.Option(help="Partition of the cluster.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the script and submit nothing.")] = False,
) -> None:
    """Submit an experiment to SLURM: `--array 16` or `--nodes 4`. Options of sbatch follow `--`."""
    words = overrides or []
    first = next((k for k, word in enumerate(words) if word.startswith("-")), len(words))
    overrides, further = words[:first], words[first:]
    if array is not None and nodes is not None:
        raise UserError("give --array (jobs that share the runs) or --nodes (one job with one Ray), not both.")
    plan = plan_of(file, overrides)
    plan.check_labelled()
    check_data(file, plan)
    missing = plan.missing(plan.histories())
    if not missing:
        typer.echo(f"All {len(plan.specs)} runs are done, so nothing is submitted; 'decomp report' shows them.")
        return
    resources = plan.experiment.resources
    together = 1 if nodes else resources.workers
    needed = {"cpus": ceil(together * resources.cpus), "gpus": ceil(together * resources.gpus)}
    given = {"cpus": cpus, "gpus": gpus}
    for what, least in needed.items():
        if (here := given[what]) is not None and here < least:
            who = "a worker" if nodes else f"a run of {together} worker(s)"
            raise UserError(
                f"--{what} {here}: {who} needs {least} on one node; give that many or lower resources.{what}."
            )
    request = Request(
        min(array, len(missing)) if array is not None else None,
        nodes,
        time,
        needed["cpus"] if cpus is None else cpus,
        needed["gpus"] if gpus is None else gpus,
        partition,
        further,
    )
    folder = Path(plan.experiment.folder / "slurm").absolute()
    script = next(path for k in count(1) if not (path := folder / f"job-{k}.sh").exists())
    text = batch_script(plan, request, script, [str(file), *overrides])
    if dry_run:
        typer.echo(text, nl=False)
        return
    folder.mkdir(parents=True, exist_ok=True)
    script.write_text(text)
    job = _sbatch(script)
    shown = " ".join(map(shlex.quote, [str(file), *overrides]))
    typer.echo(
        f"Job {job} is submitted by {script}.\n"
        f"Queue:    squeue --job {job}\n"
        f"Output:   {folder}/job-{job}*.log\n"
        f"Progress: {program()} status {shown}\n"
        f"End:      scancel {job}"
    )


def batch_script(plan: Plan, request: Request, script: Path, what: Sequence[str]) -> str:
    """The batch script that computes a plan.

    Args:
        plan: the plan.
        request: what it asks for.
        script: where it will lie.
        what: the experiment file and the values to replace, as `decomp run` takes them.
    """
    output = script.parent / ("job-%A-%a.log" if request.array is not None else "job-%j.log")
    options = "\n".join(f"#SBATCH {line}" for line in request.options(plan.experiment.name, output))
    head = Template(HEAD).substitute(
        script=shlex.quote(str(script)),
        options=options,
        what=" ".join(map(shlex.quote, what)),
        python=shlex.quote(sys.executable),
    )
    return head + (RAY if request.nodes else ALONE) + TAIL


def _sbatch(script: Path) -> str:
    """Submit a script; returns the job's number."""
    try:
        done = subprocess.run(["sbatch", "--parsable", str(script)], capture_output=True, text=True)
    except FileNotFoundError as error:
        raise UserError(
            f"there is no sbatch here: type this on a login node of a SLURM cluster, or 'sbatch {script}' there."
        ) from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        reason = reason.removeprefix("sbatch: ").rstrip(".")
        raise UserError(f"SLURM refuses {script} ({reason}); mend the options, see 'sinfo' and 'man sbatch'.")
    return done.stdout.strip().partition(";")[0]
