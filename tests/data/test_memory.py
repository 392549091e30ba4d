"""How much memory is free: what the system says, and what a container or a job is allowed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from srprune.core.errors import InputError  # noqa: E402
from srprune.data import memory  # noqa: E402
from srprune.data.memory import free_memory, free_on  # noqa: E402
from srprune.data.residency import choose_residency  # noqa: E402

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
OTHER = torch.device("mps")  # cannot say what is free
TOO_MUCH = 2**60

NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


def test_free_memory_is_part_of_all_memory() -> None:
    assert 0 < free_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_free_memory_is_what_linux_calls_available(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "MemTotal:  9000 kB\nMemFree:  2 kB\nMemAvailable:  7 kB\nHugePages_Total:  0\n"
    monkeypatch.setattr(Path, "read_text", lambda self: text)
    assert free_memory() == free_on(CPU) == 7 * 1024


@pytest.mark.parametrize("text", [None, "", "MemTotal: 9 kB\n", "MemAvailable: much\n"])
def test_elsewhere_half_of_all_memory_is_taken_for_free(
    monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    def read_text(self: Path) -> str:
        if text is None:
            raise FileNotFoundError
        return text

    monkeypatch.setattr(Path, "read_text", read_text)
    all_of_it = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert free_memory() == free_on(OTHER) == all_of_it // 2


# --- control groups -----------------------------------------------------------------------------


def job(root: Path, name: str, limit: str, used: int, cache: int = 0) -> None:
    """The files of a group that the kernel shows."""
    group = root / name
    group.mkdir(parents=True, exist_ok=True)
    (group / "memory.max").write_text(f"{limit}\n")
    (group / "memory.current").write_text(f"{used}\n")
    (group / "memory.stat").write_text(f"anon 1\nfile 2\ninactive_file {cache}\n")


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of /sys/fs/cgroup, in which this process is in /slurm/job/step."""
    read_text = Path.read_text
    facts = {
        "/proc/self/cgroup": "4:memory:/old\n0::/slurm/job/step\n",
        "/proc/meminfo": "MemAvailable:  1000 kB\n",
    }
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    monkeypatch.setattr(Path, "read_text", lambda p, *a: facts.get(str(p)) or read_text(p, *a))
    return tmp_path


def test_without_a_limit_all_that_is_available_is_free(groups: Path) -> None:
    assert free_memory() == 1_024_000
    job(groups, "slurm/job/step", "max", 7)
    assert free_memory() == 1_024_000


@pytest.mark.parametrize("name", ["slurm/job/step", "slurm/job", "slurm", "."])
def test_a_limit_of_any_group_around_it_counts(groups: Path, name: str) -> None:
    job(groups, "slurm/job/step", "max", 7)
    job(groups, name, "5000", 3000, cache=400)
    assert free_memory() == 5000 - 3000 + 400


def test_the_tightest_limit_counts_and_never_less_than_nothing(groups: Path) -> None:
    job(groups, "slurm/job", "900000", 0)
    job(groups, "slurm/job/step", "800000", 0)
    assert free_memory() == 800_000
    job(groups, "slurm", "5000", 6000)
    assert free_memory() == 0


def test_other_groups_play_no_part(groups: Path) -> None:
    job(groups, "slurm/other", "5000", 3000)
    job(groups, "old", "5000", 3000)
    assert free_memory() == 1_024_000


@NEEDS_CUDA
def test_a_gpu_says_what_is_free() -> None:
    free = free_on(CUDA)
    assert 0 < free <= torch.cuda.get_device_properties(0).total_memory
    assert choose_residency("auto", free // 4, CUDA) == "device"
    with pytest.raises(InputError, match="residency is device"):
        choose_residency("device", TOO_MUCH, CUDA)
