#!/bin/sh
# vcftools 0.1.16 (Debian 12): a switch error rate can't reach 1; with two heterozygous sites it ends at 0.5.
#
# Expected: the switch error rate is the share of neighbouring heterozygous sites, of which n sites make
# n - 1 pairs, whose phase differs between two files: 1 where every pair does.
# Seen: `--diff-switch-error` divides by the number of heterozygous sites, which its table gives as
# N_COMMON_PHASED_HET. All pairs wrong is 0.5 with two sites, 0.67 with three and 0.8 with
# five. The rates of short regions and of people with few heterozygous sites are too good, and
# their mean over people isn't comparable with another program's. Nothing documents the denominator.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
vcftools --version | tee version
grep -q '(0.1.16)' version || { echo "needs vcftools 0.1.16: apt-get install vcftools=0.1.16-3"; exit 1; }
panel() {
    echo '##fileformat=VCFv4.2'
    echo '##contig=<ID=1,length=100000>'
    echo '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">'
    printf '#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tTwo\tThree\tFive\n'
    cat
}
sites() { awk -v OFS='\t' '{ print 1, NR * 10, ".", "A", "C", ".", "PASS", ".", "GT", $1, $2, $3 }'; }
panel >first.vcf <<END
$(printf '%s\n' '0|1 0|1 0|1' '0|1 0|1 0|1' '0|0 0|1 0|1' '0|0 0|0 0|1' '0|0 0|0 0|1' | sites)
END
panel >second.vcf <<END
$(printf '%s\n' '0|1 0|1 0|1' '1|0 1|0 1|0' '0|0 0|1 0|1' '0|0 0|0 1|0' '0|0 0|0 0|1' | sites)
END
vcftools --vcf first.vcf --diff second.vcf --diff-switch-error --out x >log 2>&1
cat x.diff.indv.switch
cat >expected <<'END'
Five 5 4 0.8
Three 3 2 0.666667
Two 2 1 0.5
END
tail -n +2 x.diff.indv.switch | tr '\t' ' ' | cmp - expected
