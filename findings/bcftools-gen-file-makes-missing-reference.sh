#!/bin/sh
# bcftools 1.16 (Debian 12) and 1.24 (pysam): missing calls come back from a GEN file as genotypes.
#
# Expected: `convert --gensample` writes unknown genotypes as such, and `--gensample2vcf` reads them back
# as `./.`; a person of whom one allele is unknown is either unknown on both haplotypes' account or not,
# whichever of the two is missing.
# Seen: three equal probabilities, which is what bcftools itself writes for a missing call, are read back
# as 0/0, and so are the halves of .5 that it writes for a missing haploid one. `1|.` is written as a
# certain heterozygote and `.|1` as unknown. By way of the HAP format, which the same command writes,
# everything missing stays missing. A panel that went through GEN has more reference alleles than people
# carry, most where most calls are missing, and nothing says so.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
bcftools --version 2>&1 | head -n 1 | tee version
grep -qx 'bcftools 1.16' version || { echo "needs bcftools 1.16: apt-get install bcftools=1.16-1"; exit 1; }
python3 -m venv venv
venv/bin/pip install --quiet pysam==0.24.1 >pip.log 2>&1 || { cat pip.log; exit 1; }
for contig in 1 X; do
    echo '##fileformat=VCFv4.2'
    echo "##contig=<ID=$contig,length=1000>"
    echo '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">'
    printf '#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tp1\tp2\tp3\tp4\n'
    test $contig = X || printf '1\t10\t.\tA\tC\t.\t.\t.\tGT\t0|1\t.|.\t.|1\t1|.\n'
    test $contig = 1 || printf 'X\t10\t.\tA\tC\t.\t.\t.\tGT\t0\t1\t.\t0|1\n'
done >both
sed -n 1,5p both >1.vcf
sed -n 6,10p both >X.vcf
venv/bin/python - <<'PYTHON'
import subprocess
from pathlib import Path

import pysam.bcftools
import pysam.version

print("pysam", pysam.__version__, "with bcftools", pysam.version.__bcftools_version__)


def debian(*arguments: str) -> None:
    subprocess.run(["bcftools", *arguments], check=True, capture_output=True)


def newer(*arguments: str) -> None:
    pysam.bcftools.convert(*arguments[1:], catch_stdout=False)


def genotypes(name: str) -> list[str]:
    last = Path(name).read_text().splitlines()[-1]
    return [call.split(":")[0] for call in last.split("\t")[9:]]


def probabilities(name: str) -> list[str]:
    numbers = Path(name).read_text().split()[-12:]
    return ["/".join(numbers[at : at + 3]) for at in range(0, 12, 3)]


for version, run in (("1.16", debian), ("1.24", newer)):
    seen = []
    for contig in ("1", "X"):
        name = f"{version}.{contig}"
        for kind in ("gen", "hap"):
            files = f"{name}.{kind},{name}.{kind}.samples"
            run("convert", f"--{kind}sample", files, f"{contig}.vcf")
            run("convert", f"--{kind}sample2vcf", files, "-o", f"{name}.{kind}.vcf")
        seen.append((probabilities(f"{name}.gen"), genotypes(f"{name}.gen.vcf"), genotypes(f"{name}.hap.vcf")))
        for what, calls in zip(("written as GEN", "read from GEN", "read from HAP"), seen[-1], strict=True):
            print(f"{version} {contig} {what:14}", *calls)
    autosome, x = seen
    assert autosome[0] == ["0/1/0", "0.33/0.33/0.33", "0.33/0.33/0.33", "0/1/0"]
    assert autosome[1] == ["0/1", "0/0", "0/0", "0/1"]
    assert autosome[2] == ["0|1", ".|.", ".|.", ".|."]
    assert x[0] == ["1/0/0", "0/0/1", "0.5/0.0/0.5", "0/1/0"]
    assert x[1] == ["0/0", "1/1", "0/0", "0/1"]
    assert x[2] == ["0", "1", ".", "0|1"]
PYTHON
