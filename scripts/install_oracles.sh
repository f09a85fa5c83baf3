#!/bin/sh
# Install the programs that tests compare our figures with. Best effort: a test whose program
# is absent is skipped and says so.
set -u
packages="plink1.9 plink2 mash bcftools tabix samtools art-nextgen-simulation-tools dwgsim chromium"
missing=""
for pair in plink1.9:plink1.9 plink2:plink2 mash:mash bcftools:bcftools tabix:tabix \
    art_illumina:art-nextgen-simulation-tools dwgsim:dwgsim chromium:chromium; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
[ -z "$missing" ] && { echo "oracles: all present"; exit 0; }
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "oracles: missing$missing; install them by your package manager ($packages)"
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
    echo "oracles: could not install$missing; their tests will be skipped"
