"""``doctor``: what is installed, what works here, what a missing part costs."""

from __future__ import annotations

import json
from typing import Any

import click

from srprune.cli import options
from srprune.core.workspace import Workspace

PAYS = 1.2  # times as fast as fp32: less is not worth other digits


@click.command()
@options.as_json
@options.workspace
def doctor(as_json: bool, workspace: Workspace) -> None:
    """Check the installation, and measure what this machine can do.

    Versions, devices and their memory, the disk below the workspace and its locks, threads,
    limits, and the optional packages that are missing. A probe that fails is reported; the others
    go on.

    \b
    Example:
      srprune doctor
      srprune doctor --json
    """
    from srprune.cli.probes import examine

    facts = examine(workspace.root)
    if as_json:
        click.echo(json.dumps(facts, indent=1))
        return
    for line in _lines(facts):
        click.echo(line)


def _lines(facts: dict[str, Any]) -> list[str]:
    lines = [f"srprune {facts['srprune']}"]
    if system := facts["system"]:
        lines[0] += f", Python {system['python']}, {system['system']} {system['machine']}"
        usable = system["usable_cores"]
        fewer = f", {usable:g} of them for this process" if usable < system["cores"] else ""
        lines.append(f"{system['cores']} cores{fewer}")
    lines += [f"  {name} {number}" for name, number in (facts["packages"] or {}).items()]
    if torch := facts["torch"]:
        cuda = f"CUDA {torch['cuda']}" if torch["cuda"] else "without CUDA"
        lines.append(
            f"  torch {torch['version']}, {cuda}, {options.number_of(torch['threads'], 'thread')}, "
            f"{torch['cpu']}"
        )
    for each in facts["optional"] or []:
        if each["problem"]:
            install = f" To get it: {each['install']}"
            lines.append(
                f"  {each['package']} {each['problem']}; without it: no {each['use']}.{install}"
            )
        else:
            lines.append(f"  {each['package']} {each['version']}")
    lines += _hardware(facts)
    lines += [f"problem: {name}: {why}" for name, why in facts["problems"].items()]
    return lines


def _hardware(facts: dict[str, Any]) -> list[str]:
    lines = []
    for device in facts["devices"] or []:
        memory = device["memory"]
        room = f", {_gb(device['free'])} free of {_gb(memory)}" if memory else ""
        lines.append(f"{device['device']}: {device['name']}{room}")
    if facts["devices"] == []:
        lines.append("no GPU: everything runs on the CPU")
    if bf16 := facts["bf16"]:
        ratio = bf16["times_as_fast"]
        advice = "bf16 pays" if ratio >= PAYS else "fp32 is the better choice"
        lines.append(f"bf16 on {bf16['device']}: {ratio:.2f} times as fast as fp32; {advice} here")
    if memory := facts["memory"]:
        lines.append(f"memory: {_gb(memory['free'])} free")
    if threads := facts["threads"]:
        named = [f"{name}={value}" for name, value in threads["settings"].items()]
        lines.append(f"threads: BLAS {threads['blas']}; {', '.join(named) or 'no limit is set'}")
    if disk := facts["disk"]:
        lines.append(f"disk of {disk['folder']}: {_gb(disk['free'])} free, {_speed(disk)}")
    if (locks := facts["locks"]) and not locks["kept"]:
        lines.append(
            f"locks: {locks['folder']} gives the same lock twice, so that commands at the same "
            "time could overwrite each other. Run one at a time, or choose another --workspace."
        )
    if torchrun := facts["torchrun"]:
        script = torchrun["script"] or "not found; python -m torch.distributed.run does the same"
        backends = ", ".join(torchrun["backends"]) or "none"
        lines.append(f"torchrun: {script}; backends: {backends}")
    if limits := facts["limits"]:
        shared = limits["shared_memory"]
        lines.append(
            f"limits: shared memory {_gb(shared) if shared else 'none'}, "
            f"{limits['open_files']:,} open files"
        )
    return lines


def _speed(disk: dict[str, Any]) -> str:
    """What was measured, and how far it can be trusted."""
    if disk["problem"]:
        return f"not measured: {disk['problem']}"
    source = {True: "from memory, not from the disk", False: "from the disk"}.get(
        disk["cached"], "perhaps from memory"
    )
    return (
        f"{disk['write'] / 1e6:,.0f} MB/s written, {disk['read'] / 1e6:,.0f} MB/s read {source} "
        f"(one file of {disk['num_bytes'] / 1e6:,.0f} MB)"
    )


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:,.1f} GB"
