#!/bin/sh
# Opacus: the sampling rate isn't the batch size's share of the people, nor an epoch one pass.
#
# Expected: 1,000 people in batches of 300 are sampled at a rate of 0.3 with an expected batch of
# 300, and an epoch sees each person once on average.
# Seen: the rate is 1 over the loader's rounded-up number of batches (0.25, expected batch 250).
# A sampler made with a rate of 0.4 or 0.6 itself rounds its number of steps down: an "epoch" of
# 2 or 1 steps sees a person 0.8 or 0.6 times. Schedules written in batch sizes and epochs spend
# other budgets than they say.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.13.0 opacus==1.6.0 numpy==2.4.6 scipy >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import warnings

import opacus
import torch
from opacus import PrivacyEngine
from opacus.utils.uniform_sampler import UniformWithReplacementSampler
from torch.utils.data import DataLoader, TensorDataset

warnings.simplefilter("ignore")
model = torch.nn.Linear(3, 1)
people = TensorDataset(torch.zeros(1000, 3), torch.zeros(1000, 1))
_, optimizer, loader = PrivacyEngine().make_private(
    module=model,
    optimizer=torch.optim.SGD(model.parameters(), 0.1),
    data_loader=DataLoader(people, batch_size=300),
    noise_multiplier=1.0,
    max_grad_norm=1.0,
)
print("opacus", opacus.__version__)
print("batches of 300 of 1,000: rate", loader.sample_rate, "batch", optimizer.expected_batch_size)
assert loader.sample_rate == 0.25 and optimizer.expected_batch_size == 250
for rate, steps in ((0.4, 2), (0.6, 1), (0.9, 1)):
    sampler = UniformWithReplacementSampler(num_samples=1000, sample_rate=rate)
    print(f"rate {rate}: {len(sampler)} steps an epoch, each person {len(sampler) * rate:.1f} times")
    assert len(sampler) == steps
PYTHON
