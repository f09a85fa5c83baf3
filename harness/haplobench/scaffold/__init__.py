"""New plugins: a complete distribution written from templates."""

from haplobench.scaffold.names import Names, check_name
from haplobench.scaffold.write import KINDS, create

__all__ = ["KINDS", "Names", "check_name", "create"]
