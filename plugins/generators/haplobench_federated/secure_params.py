"""Parameters of secure aggregation; imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from haplobench import Params


class SecureParams(Params):
    """How the server learns the sum of the updates, and nothing of a single one.

    Both kinds hold against a server that follows the protocol and looks at all it gets. Server
    and clients that collude: `secagg` bears fewer clients than the threshold, `homomorphic` none,
    as every client has the key. Neither bears a server that gives different clients different
    keys for one another: their keys aren't signed by anybody.

    Attributes
    ----------
    kind : str
        `none`; `secagg`: pairwise masks with Shamir shares, SecAgg+ (Bell et al. 2020,
        doi:10.1145/3372297.3417885); `homomorphic`: CKKS (Cheon et al. 2017) by TenSEAL.
    neighbours : int or None
        Of `secagg`: clients that each client shares masks and shares with. None: all the others.
    threshold : float
        Of `secagg`: share of a client's neighbourhood, itself included, that has to stay until
        the masks come off; above one half.
    bits : int
        Of `secagg`: of a quantised value of an update.
    clipping_range : float
        Of `secagg`: values of an update are clipped to ± this. The average of a value is wrong by
        at most clipping_range / (2^bits - 1) and rounding to float32.
    """

    kind: Literal["none", "secagg", "homomorphic"] = "none"
    neighbours: int | None = Field(None, ge=2)
    threshold: float = Field(0.6, gt=0.5, le=1)
    bits: int = Field(20, ge=4, le=32)
    clipping_range: float = Field(4.0, gt=0)
