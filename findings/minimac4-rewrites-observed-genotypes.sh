#!/bin/sh
# Minimac4 and Beagle: one of two imputers changes the genotypes that it was given.
#
# Expected: at sites of the target file the output repeats its phased calls, and only the other sites
# are imputed, as Beagle does (their DS is a whole number and DR2 is 1).
# Seen: Minimac4 4.1.2 writes its model's guess at these sites, too, in GT as in DS and HDS, flagged
# `TYPED;IMPUTED`: with this small panel 39 of 320 calls are others than those it was given. A
# program that takes typed sites from the output loses data, and AF there is not the people's.
# The fields' order isn't the same in all records of the file, either (GT:DS:HDS, GT:HDS:DS).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
minimac4 --version 2>&1 | head -n 1 | tee version
grep -q '4\.1\.2' version || { echo "needs minimac4 4.1.2: apt-get install minimac4=4.1.2-1"; exit 1; }
beagle 2>&1 | head -n 1 | tee version
grep -q '22Jul22.46e' version || { echo "needs beagle 22Jul22.46e: apt-get install beagle=220722-1"; exit 1; }
python3 - <<'PYTHON'
import random

draw = random.Random(1)
founders = [[int(draw.random() < 0.3) for _ in range(200)] for _ in range(8)]


def haplotype():
    found = []
    founder = draw.choice(founders)
    for j in range(200):
        founder = draw.choice(founders) if draw.random() < 0.01 else founder
        found.append(founder[j] ^ (draw.random() < 0.01))
    return found


def write(name, haplotypes, sites):
    people = range(0, len(haplotypes), 2)
    with open(name, "w") as out:
        out.write("##fileformat=VCFv4.2\n##contig=<ID=22,length=60000000>\n")
        out.write('##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">\n')
        head = ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT"]
        print(*head, *(f"{name[0]}{p}" for p in people), sep="\t", file=out)
        for j in sites:
            calls = [f"{haplotypes[p][j]}|{haplotypes[p + 1][j]}" for p in people]
            site = [22, 20_000_000 + 2_000 * j, f"v{j}", "A", "C", ".", "PASS", ".", "GT"]
            print(*site, *calls, sep="\t", file=out)


panel = [haplotype() for _ in range(120)]
write("reference.vcf", panel[:80], range(200))
write("target.vcf", panel[80:], range(20, 180, 10))
PYTHON
for name in reference target; do
    bcftools view -O z -o $name.vcf.gz $name.vcf
    tabix -C $name.vcf.gz
done
minimac4 --compress-reference reference.vcf.gz -o reference.msav >log 2>&1
minimac4 reference.msav target.vcf.gz -f GT,DS,HDS -O vcf.gz -o minimac4.vcf.gz >log 2>&1
beagle gt=target.vcf.gz ref=reference.vcf.gz out=beagle nthreads=1 seed=1 >log 2>&1
python3 - <<'PYTHON'
import collections
import gzip


def read(name):
    found = {}
    for line in gzip.open(name, "rt"):
        if not line.startswith("#"):
            fields = line.rstrip().split("\t")
            calls = [dict(zip(fields[8].split(":"), call.split(":"))) for call in fields[9:]]
            found[fields[1]] = (fields[7], fields[8], calls)
    return found


target = read("target.vcf.gz")
changed = {}
for program in ("minimac4", "beagle"):
    out = read(f"{program}.vcf.gz")
    pairs = [(a["GT"], b["GT"]) for at in target for a, b in zip(target[at][2], out[at][2])]
    changed[program] = sum(a != b for a, b in pairs)
    print(f"{program}: {changed[program]} of {len(pairs)} calls at the target's sites are others;",
          "orders of fields:", dict(collections.Counter(order for _, order, _ in out.values())))
    if program == "minimac4":
        flags = {tuple(out[at][0].split(";")[-2:]) for at in target}
        orders = {order for _, order, _ in out.values()}
assert changed["minimac4"] > 20 and changed["beagle"] == 0 and flags == {("TYPED", "IMPUTED")}
assert orders == {"GT:DS:HDS", "GT:HDS:DS"}
PYTHON
