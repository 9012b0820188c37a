"""A real SLURM on this machine: a controller and two nodes, each with a network, a host name and folders of its own.

Needs root and Debian's packages `slurmctld slurmd slurm-client munge`. Nothing of it is seen from outside.
"""

import os
import shutil
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged", "ip", "unshare", "nsenter")
ADDRESSES = {"control": "10.93.0.1", "node1": "10.93.0.11", "node2": "10.93.0.12"}

CONF = """
ClusterName=test
SlurmctldHost=control(10.93.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=5
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
NodeName=node1 NodeAddr=10.93.0.11 CPUs=1 RealMemory=1000
NodeName=node2 NodeAddr=10.93.0.12 CPUs=1 RealMemory=1000
PartitionName=low Nodes=node[1-2] Default=YES PriorityTier=1 MaxTime=60
PartitionName=high Nodes=node[1-2] PriorityTier=2 MaxTime=60
"""


def missing():
    """What a SLURM of one's own needs and is not here, as a sentence; None if all is."""
    if lacking := [program for program in PROGRAMS if shutil.which(program) is None]:
        return f"needs Debian's slurmctld, slurmd, slurm-client, munge, iproute2 ({', '.join(lacking)} not found)"
    return None if os.geteuid() == 0 else "needs root, for networks of its own"


class Cluster:
    """A running cluster.

    Attributes:
        folder: where everything lies.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self._machines = {}
        self._daemons = []

    def on(self, machine, *command):
        """Run a command on a machine, in the cluster's folder; returns what it prints."""
        done = subprocess.run(self._at(machine, command), capture_output=True, text=True, env=self._env)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def jobs(self):
        """State of every job or part of an array, by its id."""
        rows = self.on("control", "squeue", "--all", "--array", "--noheader", "--format=%i %T %N %r").splitlines()
        return {job: rest.split() for job, rest in (row.split(maxsplit=1) for row in rows)}

    def start(self):
        """Start machines and daemons; waits until both nodes are idle."""
        for name in ("state", "munge", *(f"spool-{node}" for node in ADDRESSES)):
            (self.folder / name).mkdir()
        (self.folder / "munge").chmod(0o755)
        (self.folder / "slurm.conf").write_text(CONF.format(folder=self.folder))
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
        hosts = "".join(f"{address} {name}\n" for name, address in ADDRESSES.items())
        (self.folder / "hosts").write_text(f"127.0.0.1 localhost\n{hosts}")
        for name, address in ADDRESSES.items():
            self._boot(name, address)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        files = (f"--{what}-file={self.folder}/munge.{what}" for what in ("key", "pid", "log", "seed"))
        self._daemon("control", "munged", "--foreground", "--force", "--socket=/run/munge/munge.socket.2", *files)
        self._daemon("control", "slurmctld", "-D")
        for node in ("node1", "node2"):
            self._daemon(node, "slurmd", "-D", "-N", node)
        self._until(lambda: self._idle() == ["idle", "idle"])

    def stop(self):
        """End everything."""
        for process in (*reversed(self._daemons), *self._machines.values()):
            with suppress(ProcessLookupError):
                process.terminate()
        for process in (*self._daemons, *self._machines.values()):
            process.wait()

    def _idle(self):
        with suppress(AssertionError):  # the controller does not answer yet
            return self.on("control", "sinfo", "--noheader", "--Node", "--partition=low", "--format=%t").split()

    def _until(self, holds, seconds=120.0):
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, (self.folder / "slurmctld.log").read_text()[-2000:]
            time.sleep(0.5)

    def _boot(self, name, address):
        """A machine is a process with namespaces of its own, which does nothing."""
        mounts = f"""
            mount --make-rprivate /
            mount --bind {self.folder}/hosts /etc/hosts
            mkdir -p /run/munge && mount --bind {self.folder}/munge /run/munge
            mount --bind {self.folder} /mnt && mount -t tmpfs tmpfs /tmp
            mkdir -p {self.folder} && mount --move /mnt {self.folder}
            mount -t tmpfs tmpfs /dev/shm
            hostname {name}
            ip link set lo up
            echo ready
            exec sleep infinity
        """
        shell = ["unshare", "--net", "--uts", "--mount", "sh", "-ec", mounts]
        machine = subprocess.Popen(shell, stdout=subprocess.PIPE, text=True)
        self._machines[name] = machine
        assert machine.stdout.readline() == "ready\n"
        if name == "control":
            device = "br0"
            self.on(name, *f"ip link add {device} type bridge".split())
        else:
            device = "eth0"
            self.on("control", *f"ip link add {name} type veth peer name {device} netns {machine.pid}".split())
            self.on("control", *f"ip link set {name} master br0 up".split())
        self.on(name, *f"ip address add {address}/24 dev {device}".split())
        self.on(name, *f"ip link set {device} up".split())

    def _daemon(self, machine, *command):
        log = (self.folder / f"{command[0]}-{machine}.out").open("w")
        self._daemons.append(subprocess.Popen(self._at(machine, command), stdout=log, stderr=log, env=self._env))

    def _at(self, machine, command):
        return [
            "nsenter",
            f"--target={self._machines[machine].pid}",
            "--net",
            "--uts",
            "--mount",
            f"--wdns={self.folder}",
            *map(str, command),
        ]

    @property
    def _env(self):
        return os.environ | {"SLURM_CONF": str(self.folder / "slurm.conf")}


@contextmanager
def running(folder):
    """A cluster while the context lasts."""
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
