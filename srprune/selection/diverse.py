"""Diverse: near-duplicates are removed, then the hardest of what remains are kept.

Patches are looked at from the hardest on (ties: the lower id first). One that is as near to a
patch already kept as ``within`` allows is dropped, wherever it comes from: overlapping windows of
one image, or two images of one scene. So of two near-duplicates the higher score stays. What
remains is ranked as by ``des``; the offset skips its hardest patches.

Near means by default: a perceptual hash that differs in at most 4 of its 64 bits
(``srprune.images.perceptual_hash``). With other features, it is their Euclidean distance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import numpy as np
import numpy.typing as npt
from annotated_types import Ge

from srprune.core.errors import InputError
from srprune.selection.rule import Choice, Features, Ids, Pool, Prepared, Rule

HASH = "dhash"  # the features that are bits of a hash
BITS = 64
_NUM_BITS = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)

Words = npt.NDArray[np.uint64]
Near = Callable[[int], Ids]  # place -> the places that are near it


def _diverse(
    pool: Pool, *, within: Annotated[float, Ge(0)] = 4.0, features: str = HASH
) -> Prepared:
    order_N = np.argsort(-pool.scores, kind="stable")
    ranked_ND = pool.features[order_N]
    staying = _by_hash if features == HASH else _by_distance
    left_M = order_N[staying(ranked_ND, within)]

    def take(size: int) -> Choice:
        last = pool.num_skipped + size
        if last > len(left_M):
            skipping = f" and the {pool.num_skipped} to skip" if pool.num_skipped else ""
            raise InputError(
                f"without near-duplicates {len(left_M)} of {pool.num_patches} patches remain, "
                f"{last - len(left_M)} fewer than the {size} asked for{skipping}. "
                "Keep fewer, or set a smaller distance within."
            )
        return Choice(np.sort(left_M[pool.num_skipped : last]).astype(np.int64, copy=False))

    return Prepared(take, max(len(left_M) - pool.num_skipped, 0))


diverse = Rule(_diverse, seeded=False, nested=True)


def _by_hash(bits_ND: Features, within: float) -> Ids:
    """Places of the vectors that stay, in order; bits are 0 or 1, distance counts those unequal."""
    if bits_ND.shape[1] != BITS or not np.isin(bits_ND, (0, 1)).all():
        raise InputError(f"features '{HASH}' must be {BITS} bits a patch, 0 or 1. Delete the file.")
    words_N = np.packbits(bits_ND.astype(bool), axis=1).view(np.uint64).reshape(-1)
    # equal hashes are near to the same patches, so the first of them speaks for all
    first_U = np.sort(np.unique(words_N, return_index=True)[1])
    words_U = words_N[first_U]
    return first_U[_first_come(len(words_U), _in_bands(words_U, int(min(within, BITS))))]


def _in_bands(words_U: Words, within: int) -> Near:
    """Find near words without looking at all: cut into ``within + 1`` bands, they share one."""
    cuts = np.linspace(0, BITS, min(within + 1, BITS) + 1).astype(int)
    orders, starts, ends = [], [], []
    for low, high in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        band_U = (words_U >> np.uint64(low)) & np.uint64(2 ** (high - low) - 1)
        order_U = np.argsort(band_U, kind="stable")
        sorted_U = band_U[order_U]
        orders.append(order_U)
        starts.append(np.searchsorted(sorted_U, band_U, side="left").tolist())
        ends.append(np.searchsorted(sorted_U, band_U, side="right").tolist())
    bands = range(len(orders))

    def near(u: int) -> Ids:
        if within >= BITS:
            return np.arange(len(words_U))
        sharing = np.concatenate([orders[b][starts[b][u] : ends[b][u]] for b in bands])
        differing = (words_U[sharing] ^ words_U[u]).view(np.uint8).reshape(-1, BITS // 8)
        close: Ids = sharing[_NUM_BITS[differing].sum(axis=1, dtype=np.int64) <= within]
        return close

    return near


def _by_distance(features_ND: Features, within: float) -> Ids:
    """Places of the vectors that stay, in order, by Euclidean distance."""
    from scipy.spatial import KDTree  # a quarter of a second that a hash does not need

    values_ND = features_ND.astype(np.float64)
    tree = KDTree(values_ND)
    return _first_come(
        len(values_ND), lambda i: np.array(tree.query_ball_point(values_ND[i], within), dtype=int)
    )


def _first_come(num: int, near: Near) -> Ids:
    """Places that stay when each one that stays drops all that are near it and come later."""
    staying = np.ones(num, dtype=bool)
    stay = []
    for place in range(num):
        if staying[place]:
            staying[near(place)] = False
            stay.append(place)
    return np.array(stay, dtype=np.int64)
