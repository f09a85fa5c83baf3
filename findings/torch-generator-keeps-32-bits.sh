#!/bin/sh
# torch: a CPU generator keeps the lower 32 bits of its 64-bit seed.
#
# Expected: `manual_seed` takes 64 bits and `initial_seed` gives them back, so that seeds which
# differ in any bit give other numbers.
# Seen: `initial_seed` differs, and every number drawn is the same for s and s + 2**32. Seeds
# derived by hashing collide after some 77,000 streams (an even chance) rather than 5e9.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import torch

seeds = (7, 7 + 2**32, 7 + 5 * 2**32, 8)
draws = {}
for seed in seeds:
    generator = torch.Generator().manual_seed(seed)
    draws[seed] = torch.randn(1000, generator=generator)
    print(f"torch {torch.__version__}: seed {generator.initial_seed():>12}", draws[seed][:3].tolist())
    assert generator.initial_seed() == seed
assert torch.equal(draws[seeds[0]], draws[seeds[1]]) and torch.equal(draws[seeds[0]], draws[seeds[2]])
assert not torch.equal(draws[seeds[0]], draws[seeds[3]])
PYTHON
