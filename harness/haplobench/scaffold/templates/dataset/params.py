"""Parameters of the dataset $name."""

from haplobench import Params
from pydantic import Field


class ${title}Params(Params):
    """How many people, and at how many sites."""

    people: int = Field(default=100, ge=2)
    sites: int = Field(default=500, ge=2)
