"""study: several processes of one machine, each on its device, share the cells."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from srprune.core.errors import SrpruneError, Stopped, UserError
from srprune.core.machine import THREADS, usable_cores

LOOK_S = 0.5  # between two looks whether processes have ended


def run_processes(
    arguments: Sequence[str],
    devices: Sequence[str],
    jobs: int,
    stopping: Callable[[], bool] = lambda: False,
    *,
    quiet: bool = False,
) -> None:
    """Call ``srprune`` several times at once and wait for all.

    The processes know nothing of each other: a cell that one of them holds is passed over by the
    others. On a CPU they share the cores.

    Args:
        arguments: of the command, without the device.
        devices: given out in turn.
        jobs: how many processes.
        stopping: asked now and then; True tells every process to stop, as SIGTERM does.
        quiet: what they have to say goes to stderr, so that stdout holds only what this one says.

    Raises:
        Stopped: ``stopping`` said so.
        UserError: a process could not do its work; it has said why.
        SrpruneError: a process failed by our fault.
    """
    environment = dict(os.environ)
    if not any(name in environment for name in THREADS):
        environment["OMP_NUM_THREADS"] = str(max(1, int(usable_cores()) // jobs))
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "srprune", *arguments, "--device", devices[n % len(devices)]],
            env=environment,
            stdout=sys.stderr if quiet else None,
        )
        for n in range(jobs)
    ]
    told = False
    try:
        while any(process.poll() is None for process in processes):
            if stopping() and not told:
                told = True
                for process in processes:
                    process.terminate()
            time.sleep(LOOK_S)
    except BaseException:  # Ctrl-C reaches the whole group; anything else must not leave orphans
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        raise
    if told:
        raise Stopped("stopped; every process has saved its checkpoint. The same call goes on.")
    statuses = [process.returncode for process in processes]
    if any(statuses):
        failed, killed = sum(each != 0 for each in statuses), sum(each < 0 for each in statuses)
        why = "they have said why" if not killed else f"{killed} of them were killed from outside"
        message = (
            f"{failed} of {jobs} processes could not do their work; {why}. What is finished is "
            "kept, and the same call goes on."
        )
        raise SrpruneError(message) if 1 in statuses else UserError(message)
