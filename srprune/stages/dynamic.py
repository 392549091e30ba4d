"""Opening a supernet as a restorer that gives each tile as much network as it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from srprune.core.errors import InputError
from srprune.core.run_config import DynamicConfig
from srprune.models.restorer import BicubicRestorer, NetworkRestorer
from srprune.models.supernet import Supernet
from srprune.stages.evaluate import Candidate
from srprune.stages.route import subnets_of
from srprune.stages.routers import check_own, command_of, open_router, router_header
from srprune.wbsr.dynamic import OVERLAP, TILES, DynamicRestorer, check_tile


def run_dynamically(candidate: Candidate, how: DynamicConfig) -> Candidate:
    """The same weights, restored tile by tile; bicubic is left as it is.

    Where no tile is asked for, tiles are those that the router was fitted on.

    Args:
        candidate: a supernet, run plainly.
        how: router, budget, tiles and precision.

    Raises:
        InputError: no supernet, weights that a run did not end with, tiles that do not fit, or a
            budget that no subnet can meet.
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
    check_own(candidate.weights)
    folder = candidate.weights.parent
    router = open_router(folder, how.router, plain.fingerprint)
    header = router_header(folder, how.router)
    fitted_on, subnets = header.made["fitted_on"], subnets_of(plain)
    dynamic = DynamicRestorer(
        plain.name,
        [subnet.at(how.precision) for subnet in subnets],
        router,
        tile=how.tile or _tile_of(fitted_on["tile"], subnets),
        overlap=OVERLAP if how.overlap is None else how.overlap,
        budget=how.flops_budget,
        fingerprint=plain.fingerprint,
    )
    tiles = {"tile": dynamic.tile, "overlap": dynamic.overlap}
    cost = router.flops(dynamic.tile, dynamic.tile)
    note = ""
    if dynamic.tile != fitted_on["tile"]:
        note = (
            f"the router {how.router} of {folder.name} was fitted on tiles of {fitted_on['tile']} "
            f"px at LR, and decides on tiles of {dynamic.tile} here. To fit it on such: "
            f"{command_of(folder, how.router)} --tile {dynamic.tile}"
        )
    return replace(
        candidate,
        subject=replace(candidate.subject, restorer=dynamic),
        inference=how,
        params={
            "inference": {**how.model_dump(mode="json"), **tiles},
            "router": header.fingerprint,
            # tables from before it counted are measured anew
            **({"router_flops": cost} if cost else {}),
        },
        router_images=fitted_on.get("images", {}),
        note=note,
    )


def _tile_of(fitted: int, subnets: Sequence[NetworkRestorer]) -> int:
    """Side of the router's tiles, LR px; the scale's where subnets cannot take that.

    Training fits a router on tiles as small as its patches, whatever the subnets take.
    """
    try:
        check_tile(subnets, fitted)
    except InputError:
        return TILES[subnets[0].scale]
    return fitted
