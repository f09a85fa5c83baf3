"""Parameters."""

from haplobench import Params
from pydantic import Field


class WordChainParams(Params):
    """`window` is sites in a word; `backoff` the share of words drawn without the one before."""

    window: int = Field(default=8, ge=1, le=62)
    backoff: float = Field(default=0.02, ge=0, le=1)
