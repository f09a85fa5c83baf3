"""A real Slurm of one node, whose daemons a test starts and stops by their process ids."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "scontrol")
PACKAGES = ("slurm-wlm", "slurm-client", "munge")
_INSTALL = 200.0  # seconds
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmdPort={slurmd}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/builtin
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=64000 State=UNKNOWN
PartitionName=tests Nodes={host} Default=YES MaxTime=60 State=UP
"""


def install() -> str:
    """Have Slurm's programs; empty if they are there, else why not."""
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if not missing:
        return ""
    if getpass.getuser() != "root" or shutil.which("apt-get") is None:
        return f"no {missing[0]}, and only root can install Slurm by apt-get"
    try:
        done = subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True,
            text=True,
            timeout=_INSTALL,
        )
    except subprocess.TimeoutExpired:
        return f"apt-get hadn't installed Slurm after {_INSTALL:.0f} s"
    if done.returncode:
        return f"apt-get could not install Slurm: {done.stderr.strip().splitlines()[-1:]}"
    return ""


class SlurmCluster:
    """`with SlurmCluster():` — sbatch and its like then speak to it."""

    def __init__(self) -> None:
        # Short: a socket's path is limited, and munge wants no one else to write above it.
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/run"))
        self.daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> SlurmCluster:
        folder = self.folder
        for name in ("state", "spool"):
            (folder / name).mkdir()
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o600)
        conf = folder / "slurm.conf"
        conf.write_text(
            CONF.format(
                host=socket.gethostname().partition(".")[0],
                folder=folder,
                ctld=_free_port(),
                slurmd=_free_port(),
            )
        )
        self.before = os.environ.get("SLURM_CONF")
        os.environ["SLURM_CONF"] = str(conf)
        files = ("socket", "key-file", "pid-file", "log-file", "seed-file")
        named = [f"--{name}={folder}/munge.{name.partition('-')[0]}" for name in files]
        self._start("munged", "--foreground", "--force", *named)
        self._until(lambda: (folder / "munge.socket").exists(), "munged")
        self._start("slurmctld", "-D", "-f", str(conf))
        self._start("slurmd", "-D", "-f", str(conf))
        self._until(lambda: "idle" in _said("sinfo", "-h", "-o", "%T"), "the node")
        return self

    def __exit__(self, *error: object) -> None:
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(15)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        if self.before is None:
            os.environ.pop("SLURM_CONF", None)
        else:
            os.environ["SLURM_CONF"] = self.before
        shutil.rmtree(self.folder, ignore_errors=True)

    def jobs(self) -> list[str]:
        """Ids of jobs that are pending or running."""
        return _said("squeue", "-h", "-o", "%i").split()

    def _start(self, *command: str) -> None:
        with (self.folder / f"{command[0]}.out").open("wb") as output:
            self.daemons.append(subprocess.Popen(command, stdout=output, stderr=output))

    def _until(self, true: object, what: str) -> None:
        end = time.monotonic() + 60
        while not true():  # type: ignore[operator]
            for daemon in self.daemons:
                if daemon.poll() is not None or time.monotonic() > end:
                    text = "\n".join(
                        f"{path.name}: {path.read_text(errors='replace')[-1500:]}"
                        for path in (*self.folder.glob("*.out"), *self.folder.glob("*.log"))
                    )
                    self.__exit__()
                    raise RuntimeError(f"Slurm did not start: {what}\n{text}")
            time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout
