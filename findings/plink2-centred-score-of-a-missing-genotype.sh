#!/bin/sh
# PLINK 2.00a3.5 (Debian 12): a centred score takes a missing genotype for a large dosage.
#
# Expected: `--score center` "translates all dosages to mean zero", and a missing genotype counts as the
# mean, so that a variant at which somebody's call is missing adds 0 to this person's score, as it
# does in PLINK 1.9 with the same options. `variance-standardize` divides the centred dosage by its
# standard deviation, and 0 stays 0.
# Seen: the mean is filled in after the others were centred, and isn't centred itself. Each missing
# call adds weight * 2p (over the standard deviation with the other option) where it should add
# nothing: whose calls are missing most has the highest score for alleles of positive weight.
# Sums of people with all calls are right, and so are all sums without either option. `dominant` and
# `recessive` both fill in the frequency, 0.4 here, where the means of their codes are 0.6 and 0.2.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
plink2 --version | tee version
grep -q 'v2.00a3.5 ' version || { echo "needs PLINK 2.00a3.5: apt-get install plink2=2.00~a3.5-220809+dfsg-1"; exit 1; }
plink1.9 --version
{
    echo '##fileformat=VCFv4.2'
    echo '##contig=<ID=1,length=100000>'
    echo '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">'
    printf '#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tP1\tP2\tP3\tP4\tP5\tP6\n'
    printf '1\t10\ta\tA\tC\t.\tPASS\t.\tGT\t0|1\t0|0\t1|1\t.|.\t0|1\t0|0\n'
    printf '1\t20\tb\tG\tT\t.\tPASS\t.\tGT\t0|0\t1|0\t1|1\t0|0\t0|1\t0|0\n'
    printf '1\t30\tc\tG\tT\t.\tPASS\t.\tGT\t1|0\t1|0\t0|1\t0|0\t1|1\t0|0\n'
} >x.vcf
printf 'a\tC\t1\nb\tT\t2\nc\tT\t1\n' >weights
plink1.9 --vcf x.vcf --double-id --score weights 1 2 3 sum center --out old >/dev/null
awk 'NR > 1 { print $2, $6 }' old.profile >old
for option in center variance-standardize; do
    plink2 --vcf x.vcf --bad-freqs --score weights 1 2 3 $option cols=+scoresums --out $option >/dev/null 2>&1
    awk 'NR > 1 { print $1, $NF }' $option.sscore >$option
done
for option in dominant recessive; do # P4 has no other allele that counts: the sum is what was filled in
    plink2 --vcf x.vcf --bad-freqs --score weights 1 2 3 $option cols=+scoresums --out $option >/dev/null 2>&1
    echo "P4 $option: $(awk '$1 == "P4" { print $NF }' $option.sscore)" | tee -a filled
done
[ "$(cut -d : -f 2 filled | tr -d '\n')" = " 0.4 0.4" ]
python3 - <<'PYTHON'
from math import isclose, sqrt

weights = [1, 2, 1]
dosages = [[1, 0, 2, None, 1, 0], [0, 1, 2, 0, 1, 0], [1, 1, 1, 0, 2, 0]]
tables = [
    {name: float(value) for name, value in map(str.split, open(file))}
    for file in ("old", "center", "variance-standardize")
]
for person in range(6):
    name = f"P{person + 1}"
    right = [0.0, 0.0]
    excess = [0.0, 0.0]
    for weight, site in zip(weights, dosages):
        called = [dosage for dosage in site if dosage is not None]
        mean = sum(called) / len(called)
        deviation = sqrt(mean * (1 - mean / 2))
        if site[person] is None:
            excess[0] += weight * mean
            excess[1] += weight * mean / deviation
        else:
            right[0] += weight * (site[person] - mean)
            right[1] += weight * (site[person] - mean) / deviation
    old, centred, standardized = (table[name] for table in tables)
    print(
        f"{name}: center {centred:8.4f} (PLINK 1.9 {old:8.4f}, by hand {right[0]:8.4f}),"
        f" variance-standardize {standardized:8.4f} (by hand {right[1]:8.4f})"
    )
    assert isclose(old, right[0], abs_tol=1e-4)
    assert isclose(centred, right[0] + excess[0], abs_tol=1e-4)
    assert isclose(standardized, right[1] + excess[1], abs_tol=1e-4)
    assert (excess[0] > 0.5) == (name == "P4")
PYTHON
