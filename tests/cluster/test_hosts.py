"""Two machines, played by two network namespaces: one loses its process, and the training ends or goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cluster.conftest import ROOT, wait_for
from tests.data.adversarial import assert_same_end
from tests.test_resume import losses
from vedute.checkpoints import load_checkpoint

pytestmark = pytest.mark.cluster
CONFIG = str(ROOT / "configs" / "cvae_landscapes.yaml")
SMALL = (
    "--data.image_size 32 --data.batch_size 4 --trainer.precision 32-true --trainer.log_every_n_steps 1 "
    "--trainer.max_epochs 3 --trainer.accelerator cpu --trainer.devices 1 --trainer.num_nodes 2 "
    "--config configs/with/ddp.yaml --trainer.accelerator cpu --trainer.devices 1 "
    "--trainer.callbacks+=tests.cluster.slow.Slow --trainer.callbacks.init_args.seconds 0.5"
)


@dataclass
class Host:
    """A machine: its name, its network interface and its address."""

    name: str
    interface: str
    address: str

    def processes(self) -> list[int]:
        """Return the processes on it that train."""
        found = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=True)
        return [pid for pid in map(int, found.stdout.split()) if b"torchrun" not in _command(pid)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b"torchrun"  # gone


@pytest.fixture(scope="module")
def hosts() -> Iterator[list[Host]]:
    """Make two machines with a cable between them, or skip where that is not allowed."""
    number = os.getpid() % 10_000
    made = [
        Host(f"vedute{number}{end}", f"v{number}{end}", f"10.77.0.{place}")
        for place, end in enumerate("ab", start=1)
    ]
    one, other = made
    commands = [f"ip netns add {host.name}" for host in made]
    cable = f"{one.interface} netns {one.name} type veth peer name {other.interface} netns {other.name}"
    commands += [f"ip link add {cable}"]
    for host in made:
        commands += [
            f"ip -n {host.name} addr add {host.address}/24 dev {host.interface}",
            f"ip -n {host.name} link set {host.interface} up",
            f"ip -n {host.name} link set lo up",
        ]
    try:
        for command in commands:
            try:
                done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
            except FileNotFoundError:
                pytest.skip("no 'ip' here (package iproute2)")
            if done.returncode:
                pytest.skip(f"network namespaces cannot be made here: {done.stderr.strip()}")
        yield made
    finally:
        for host in made:
            subprocess.run(["ip", "netns", "del", host.name], capture_output=True, check=False)


def start(hosts: list[Host], tiny: Path, folder: Path, restarts: int) -> list[subprocess.Popen[bytes]]:
    """Start a training of one process on each host."""
    started = []
    for host in hosts:
        meeting = f"--rdzv-backend c10d --rdzv-endpoint {hosts[0].address}:29400 --rdzv-id {folder.name}"
        meeting += f" --rdzv-conf is_host={int(host is hosts[0])} --local-addr {host.address}"
        command = f"ip netns exec {host.name} {Path(sys.executable).with_name('torchrun')} --nnodes 2"
        command += f" --nproc-per-node 1 {meeting} --max-restarts {restarts}"
        command += f" cli.py fit --config {CONFIG} {SMALL} --data.root {tiny}"
        command += f" --trainer.default_root_dir {folder}"
        environment = {
            **os.environ,
            "GLOO_SOCKET_IFNAME": host.interface,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        }
        log = (folder / f"{host.address}.log").open("wb")
        started.append(subprocess.Popen(command.split(), stdout=log, stderr=log, env=environment, cwd=ROOT))
    return started


def logs(folder: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(folder.glob("*.log")))


def lose_a_process(host: Host, agents: list[subprocess.Popen[bytes]], folder: Path) -> None:
    """Wait for the second epoch, and kill the training's process on a host."""
    metrics = folder / "runs" / "cvae_landscapes" / "0" / "metrics.csv"

    def amid() -> bool:
        assert all(agent.poll() is None for agent in agents), logs(folder)
        return metrics.is_file() and len(losses(folder)) > 7

    wait_for(amid, 600, lambda: logs(folder))
    for pid in host.processes():
        os.kill(pid, signal.SIGKILL)


def ended(agents: list[subprocess.Popen[bytes]]) -> list[int]:
    try:
        return [agent.wait(timeout=600) for agent in agents]
    finally:
        for agent in agents:
            agent.kill()


def test_a_lost_process_ends_the_training_with_a_message_and_a_whole_checkpoint(
    hosts: list[Host], tiny: Path, tmp_path: Path
) -> None:
    agents = start(hosts, tiny, tmp_path, restarts=0)
    lose_a_process(hosts[1], agents, tmp_path)
    before = time.monotonic()
    assert all(code != 0 for code in ended(agents))
    assert time.monotonic() - before < 120
    said = (tmp_path / f"{hosts[0].address}.log").read_text()
    assert "error: Another process of this training has ended or cannot be reached" in said
    run = tmp_path / "runs" / "cvae_landscapes" / "0"
    assert load_checkpoint(run / "checkpoints" / "last.ckpt")["epoch"] == 0


def test_with_restarts_it_goes_on_to_the_same_end(
    hosts: list[Host], tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole, lost = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("lost")
    agents = start(hosts, tiny, lost, restarts=1)
    lose_a_process(hosts[1], agents, lost)
    assert ended(agents) == [0, 0], logs(lost)
    assert "goes on with its run" in logs(lost)
    assert ended(start(hosts, tiny, whole, restarts=0)) == [0, 0], logs(whole)
    first, second = (folder / "runs" / "cvae_landscapes" for folder in (whole, lost))
    assert [path.name for path in second.iterdir()] == ["0"]
    assert losses(whole) == losses(lost)
    assert_same_end(first / "0", second / "0")
