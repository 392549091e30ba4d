"""``doctor``: what is installed, what works here, what a missing part costs."""

from __future__ import annotations

import os
import platform
import shutil

import click

from srprune.core.provenance import version

OPTIONAL = {
    "torchvision": "preview grids of a training run",
    "matplotlib": "figures; pip install 'srprune[report]'",
    "spandrel": "spandrel:FILE; pip install 'srprune[interop]'",
}


@click.command()
def doctor() -> None:
    """Check the installation, and say what it can do.

    \b
    Example:
      srprune doctor
    """
    import torch

    click.echo(
        f"srprune {version()}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"{shutil.disk_usage('.').free / 1e9:.0f} GB free here"
    )
    for name in ("numpy", "pillow", "scikit-image", "scipy", "pyarrow", "pydantic", "safetensors"):
        click.echo(f"  {name} {version(name)}")
    cuda = torch.cuda.is_available()
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    click.echo(
        f"  torch {torch.__version__}, {torch.get_num_threads()} threads, CUDA "
        + (f"yes: {', '.join(devices)}" if cuda else "no")
        + (", MPS yes" if torch.backends.mps.is_available() else "")
    )
    for name, cost in OPTIONAL.items():
        try:
            __import__(name)
            click.echo(f"  {name} {version(name)}")
        except Exception as error:  # a torchvision built for another torch fails in many ways
            first = str(error).splitlines()[0]
            click.echo(f"  {name} does not import ({first}); without it: no {cost}")
