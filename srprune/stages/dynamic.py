"""Opening a supernet as a restorer that gives each tile as much network as it needs."""

from __future__ import annotations

from dataclasses import replace

from srprune.core.config import DynamicConfig
from srprune.core.errors import InputError
from srprune.models.restorer import BicubicRestorer, NetworkRestorer
from srprune.models.supernet import Supernet
from srprune.stages.evaluate import Candidate
from srprune.stages.route import open_router, router_header, subnets_of
from srprune.wbsr.dynamic import OVERLAP, TILES, DynamicRestorer


def run_dynamically(candidate: Candidate, how: DynamicConfig) -> Candidate:
    """The same weights, restored tile by tile; bicubic is left as it is.

    Args:
        candidate: a supernet, run plainly.
        how: router, budget, tiles and precision.

    Raises:
        InputError: no supernet, tiles that do not fit it, or a budget that no subnet can meet.
        MissingArtifact: the router was not made for these weights.
        ArtifactError: its file is damaged.
        ArtifactMismatch: it was made for other weights.
    """
    plain = candidate.subject.restorer
    if isinstance(plain, BicubicRestorer):  # which stays what it is, as with tiles
        return candidate
    if not isinstance(plain, NetworkRestorer) or not isinstance(plain.network, Supernet):
        raise InputError(
            f"{plain.name} is no supernet: it has one network for all tiles. Leave --router and "
            "--flops-budget out, or name a run of msrresnet_supernet or rcan_supernet."
        )
    assert candidate.weights is not None
    folder = candidate.weights.parent
    router = open_router(folder, how.router, plain.fingerprint)
    dynamic = DynamicRestorer(
        plain.name,
        [subnet.at(how.precision) for subnet in subnets_of(plain)],
        router,
        tile=how.tile or TILES[plain.scale],
        overlap=OVERLAP if how.overlap is None else how.overlap,
        budget=how.flops_budget,
        fingerprint=plain.fingerprint,
    )
    tiles = {"tile": dynamic.tile, "overlap": dynamic.overlap}
    header = router_header(folder, how.router)
    fitted_on = header.made["fitted_on"].get("images", {})
    return replace(
        candidate,
        subject=replace(candidate.subject, restorer=dynamic),
        inference=how,
        params={
            "inference": {**how.model_dump(mode="json"), **tiles},
            "router": header.fingerprint,
        },
        training_images={**candidate.training_images, **fitted_on},
    )
