#!/bin/sh
# moments: a folded spectrum that is resampled at a fixed size comes back as an unfolded one.
#
# Expected: `fixed_size_sample` of a folded spectrum is folded, as `sample` of it is, so that a
# likelihood folds the model, too.
# Seen: the counts are those of minor alleles, with the upper half masked, yet `folded` is False. A
# likelihood against a folded model is refused; against an unfolded one, as models are, minor
# alleles are taken for derived ones: another log likelihood, without a word. Marked as folded, the
# same counts give that of the data.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet moments-popgen==1.6.1 numpy==2.4.6 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python -W ignore - <<'PYTHON'
import logging
from importlib.metadata import version

import moments
import numpy as np

logging.disable(logging.WARNING)
np.random.seed(1)
model = moments.Spectrum(moments.LinearSystem_1D.steady_state_1D(20))
folded = model.fold()
resampled = folded.fixed_size_sample(1000)
marked = moments.Spectrum(resampled.data, data_folded=True)
print("moments-popgen", version("moments-popgen"))
print("folded:", folded.folded, "| sample:", folded.sample().folded,
      "| fixed_size_sample:", resampled.folded)
print("masked from the middle on:", bool(resampled.mask[11:].all()), "| counts:", int(resampled.sum()))
as_it_is = moments.Inference.ll_multinom(model, resampled)
as_folded = moments.Inference.ll_multinom(model, marked)
print(f"log likelihood of the neutral model: as it is {as_it_is:.1f}, marked as folded {as_folded:.1f}")
try:
    moments.Inference.ll_multinom(folded, resampled)
    refused = ""
except ValueError as error:
    refused = str(error)
print("against the folded model:", refused)
assert folded.folded and folded.sample().folded and not resampled.folded
assert resampled.mask[11:].all() and resampled.sum() == 1000
assert "folded" in refused
assert as_it_is < as_folded - 5
PYTHON
