"""A real Slurm of one node on this machine: Munge, a controller and a node's daemon."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.packages import why_not
from tests.platforms.hub import free_ports

START_S = 60
# slurm.conf(5). No cgroups, no accounting: what a container has.
CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={home}/munge.socket,cred_expire=1
CryptoType=crypto/munge
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={home}/state
SlurmdSpoolDir={home}/spool
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobRequeue=1
KillWait=20
MinJobAge=10
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=tests Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Unavailable(Exception):
    """Slurm cannot be had on this machine, and why."""


@dataclass
class Slurm:
    """A running Slurm; `environment` is what its commands need."""

    home: Path
    environment: dict[str, str]
    daemons: list[subprocess.Popen] = field(default_factory=list)

    def call(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout

    def jobs(self) -> list[tuple[str, str]]:
        """(number, state) of every job in the queue, the parts of an array apart."""
        lines = self.call("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
        return [(number, state) for number, state in map(str.split, lines)]

    def log(self) -> str:
        logs = [self.home / "slurmctld.log", self.home / "slurmd.log"]
        return "\n".join(path.read_text()[-2000:] for path in logs if path.exists())

    def stop(self) -> None:
        with suppress(subprocess.SubprocessError):
            self.call("scancel", "--user=root", "--signal=KILL", "--full")
        for daemon in reversed(self.daemons):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(timeout=20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def install() -> None:
    if lacking := why_not("slurm"):
        raise Unavailable(lacking)
    if os.getuid() != 0:
        raise Unavailable("starting Slurm's daemons needs root")


def start(home: Path) -> Slurm:
    """Start it and wait until its node takes jobs."""
    install()
    environment = {**os.environ, "SLURM_CONF": str(home / "slurm.conf")}
    environment["PATH"] += ":/usr/sbin:/sbin"
    for folder in ("state", "spool"):
        (home / folder).mkdir()
    key = home / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    controller_port, node_port = free_ports(2)
    (home / "slurm.conf").write_text(
        CONFIG.format(
            host=socket.gethostname().partition(".")[0],
            home=home,
            controller_port=controller_port,
            node_port=node_port,
            cpus=os.cpu_count(),
        )
    )
    slurm = Slurm(home, environment)
    munge = ["munged", "--foreground", "--force", f"--key-file={key}"]
    munge += [f"--{name}-file={home}/munge.{name}" for name in ("pid", "log", "seed")]
    commands = {
        "munged": [*munge, f"--socket={home}/munge.socket"],
        "slurmctld": ["slurmctld", "-D"],
        "slurmd": ["slurmd", "-D"],
    }
    try:
        for name, command in commands.items():
            program = shutil.which(name, path=environment["PATH"])
            assert program
            output = (home / f"{name}.out").open("w")
            slurm.daemons.append(
                subprocess.Popen(
                    [program, *command[1:]], env=environment, stdout=output, stderr=output
                )
            )
            if name == "munged":
                _wait((home / "munge.socket").exists, slurm)
        _wait(lambda: "idle" in slurm.call("sinfo", "--noheader", "--format=%t"), slurm)
    except BaseException:
        slurm.stop()
        raise
    return slurm


def _wait(ready, slurm: Slurm) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        with suppress(subprocess.SubprocessError):
            if ready():
                return
        time.sleep(0.2)
    outputs = "\n".join(path.read_text()[-500:] for path in slurm.home.glob("*.out"))
    raise AssertionError(f"Slurm did not start:\n{outputs}\n{slurm.log()}")
