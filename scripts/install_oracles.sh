#!/bin/sh
# Install the programs that tests compare our figures with. Best effort: a test whose program
# is absent is skipped and says so.
set -u
packages="plink1.9 plink2 mash bubblewrap bcftools tabix samtools art-nextgen-simulation-tools dwgsim chromium chromium-driver npm scrm beagle minimac4 texlive-latex-recommended groovy default-jre-headless"
missing=""
for pair in plink1.9:plink1.9 plink2:plink2 mash:mash bwrap:bubblewrap bcftools:bcftools tabix:tabix \
    art_illumina:art-nextgen-simulation-tools dwgsim:dwgsim chromium:chromium chromedriver:chromium-driver npm:npm scrm:scrm \
    beagle:beagle minimac4:minimac4 pdflatex:texlive-latex-recommended groovy:groovy \
    /usr/lib/jvm/default-java/bin/java:default-jre-headless; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
# The accessibility checker that runs inside the browser; a package of the npm registry.
axe() {
    cache="${XDG_CACHE_HOME:-$HOME/.cache}/haplobench"
    [ -f "$cache/axe-core/axe.min.js" ] && return 0
    command -v npm >/dev/null 2>&1 || { echo "oracles: no npm, so no axe-core"; return 0; }
    work="$(mktemp -d)"
    if (cd "$work" && npm pack --silent axe-core@4 >/dev/null && tar xzf axe-core-*.tgz); then
        mkdir -p "$cache/axe-core" && cp "$work/package/axe.min.js" "$cache/axe-core/"
    else
        echo "oracles: could not fetch axe-core; its test will be skipped"
    fi
    rm -rf "$work"
}
[ -z "$missing" ] && { axe; echo "oracles: all present"; exit 0; }
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    axe
    echo "oracles: missing$missing; install them by your package manager ($packages)"
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
    echo "oracles: could not install$missing; their tests will be skipped"
axe
