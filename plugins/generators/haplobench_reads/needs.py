"""Programs that the back ends need, and where Debian and Ubuntu have them."""

from __future__ import annotations

from haplobench import Binary

PROGRAMS = {
    "art_illumina": Binary("art_illumina", "apt-get install art-nextgen-simulation-tools"),
    "dwgsim": Binary("dwgsim", "apt-get install dwgsim"),
}
