"""A mask: how far each site belongs to the circuit, and the gates that this opens."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from desiderata import Part

from ..mediators.site import Site
from ..records import Memberships, read_record


@dataclass(frozen=True)
class Mask:
    """Sites and their membership of the circuit, in [0, 1], always in float32.

    Raises:
        ValueError: a membership for each site was expected, inside [0, 1].
    """

    sites: tuple[Site, ...]
    membership: Float[Tensor, " site"]

    def __post_init__(self) -> None:
        shape = tuple(self.membership.shape)
        if shape != (len(self.sites),):
            raise ValueError(f"expected {len(self.sites)} memberships, one a site; got {shape}")
        values = self.membership.detach()
        if not bool(((values >= 0) & (values <= 1)).all()):
            raise ValueError("memberships lie in [0, 1]; got values outside it or NaN")

    def gates(self, part: Part) -> Float[Tensor, " site"]:
        """The gates that patch this part: 1 takes the source's value, 0 leaves the base's."""
        return gates_of(self.membership, part)

    @property
    def is_hard(self) -> bool:
        """Whether every gate is open or closed."""
        return bool(((self.membership == 0) | (self.membership == 1)).all())

    def on(self, sites: Sequence[Site]) -> Float[Tensor, " site"]:
        """The membership of these sites; 0 for those that the mask does not have."""
        shares = dict(zip(self.sites, self.membership.tolist(), strict=True))
        return torch.tensor([shares.get(site, 0.0) for site in sites])

    def as_json(self) -> dict[str, float]:
        """The sites that are not closed, by name, with their membership."""
        shares = zip(self.sites, self.membership.tolist(), strict=True)
        return {str(site): round(share, 6) for site, share in shares if share}

    def hard(self, threshold: float = 0.5) -> "Mask":
        """The mask of the sites whose membership is above the threshold."""
        return Mask(self.sites, (self.membership > threshold).float())

    def members(self) -> tuple[Site, ...]:
        """The sites with more than half membership."""
        return tuple(
            site
            for site, share in zip(self.sites, self.membership.tolist(), strict=True)
            if share > 0.5
        )


def mask_from_json(content: Any) -> Mask:
    """The mask that `as_json` wrote, without the sites that it leaves out.

    Raises:
        ValueError: a name that is no site, a membership outside [0, 1].
    """
    read = read_record(Memberships, content, where="the mask")
    return Mask(tuple(read), torch.tensor(list(read.values())))


def gates_of(membership: Float[Tensor, "*mask site"], part: Part) -> Float[Tensor, "*mask site"]:
    """Membership as gates: itself inside the circuit, its complement outside."""
    return membership if part == "inside" else 1 - membership


def membership_of(sites: Sequence[Site], chosen: Iterable[Site]) -> Float[Tensor, " site"]:
    """1 for the chosen sites and 0 for the others, in the order of `sites`.

    Raises:
        LookupError: a chosen site that is not among `sites`.
    """
    index = {site: number for number, site in enumerate(sites)}
    chosen = list(chosen)
    if strangers := [str(site) for site in chosen if site not in index]:
        raise LookupError(
            f"site(s) {', '.join(strangers)} are not among the {len(sites)} that can be patched "
            "here"
        )
    membership = torch.zeros(len(sites))
    membership[[index[site] for site in chosen]] = 1.0
    return membership
