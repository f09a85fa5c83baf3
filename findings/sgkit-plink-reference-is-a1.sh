#!/bin/sh
# sgkit and bio2zarr: one PLINK file, two VCF Zarr data sets with each other's reference allele.
#
# Expected: sgkit's `read_plink` and bio2zarr's `plink2zarr` give one data model, in which allele 0
# is the reference, from one .bed file, so that the alternate allele's frequency is the same.
# Seen: bio2zarr takes A2 for the reference, as PLINK 2 does. sgkit takes A1, which PLINK writes the
# alternate (2.0) or the minor (1.9) allele to: an allele carried by 1 of 8 chromosomes has
# frequency 7/8 of "allele 1". Each is consistent in itself; genotypes, scores and spectra
# of derived alleles from one of them are upside down in the other, without a warning.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet sgkit==0.10.0 bio2zarr==0.1.7 bed-reader==1.1.0 numpy==2.1.3 pandas==2.3.3 xarray==2025.3.0 dask==2024.8.0 zarr==2.18.7 numcodecs==0.15.1 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata
import subprocess
import warnings

warnings.simplefilter("ignore")
import bed_reader
import numpy as np
import sgkit
import zarr
from sgkit.io.plink import read_plink

# 4 people, 3 sites: copies of A1 (C); A2 (A) is what PLINK 2 writes the reference allele to.
copies = np.array([[1, 0, 2], [0, 0, 2], [0, 1, 2], [0, 0, 1]])
bed_reader.to_bed("x.bed", copies.astype(float), properties={
    "iid": list("abcd"), "chromosome": ["1"] * 3, "sid": list("xyz"), "bp_position": [10, 20, 30],
    "allele_1": ["C"] * 3, "allele_2": ["A"] * 3,
})
subprocess.run(["venv/bin/plink2zarr", "convert", "x", "x.vcz"], check=True, capture_output=True)
for package in ("sgkit", "bio2zarr", "bed-reader"):
    print(package, importlib.metadata.version(package))
store = zarr.open("x.vcz", mode="r")
dataset = read_plink(path="x")
seen = {
    "bio2zarr": (store["variant_allele"][:].tolist(), store["call_genotype"][:]),
    "sgkit": (dataset.variant_allele.values.astype(str).tolist(), dataset.call_genotype.values),
}
frequency = {}
for name, (alleles, calls) in seen.items():
    frequency[name] = (calls == 1).mean(axis=(1, 2)).tolist()
    print(f"{name:9} alleles {alleles[0]}, frequency of allele 1: {frequency[name]}")
by_sgkit = sgkit.variant_stats(dataset).variant_allele_frequency.values[:, 1].tolist()
print("sgkit.variant_stats:", by_sgkit, "A1 in the file:", (copies.sum(axis=0) / 8).tolist())
assert frequency["bio2zarr"] == (copies.sum(axis=0) / 8).tolist() == [0.125, 0.125, 0.875]
assert frequency["sgkit"] == by_sgkit == [0.875, 0.875, 0.125]
assert seen["bio2zarr"][0][0] == ["A", "C"] and seen["sgkit"][0][0] == ["C", "A"]
PYTHON
