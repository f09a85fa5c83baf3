#!/bin/sh
# OpenDP: cast to a truth value, the word "false" is true.
#
# Expected: `make_cast_default` from text to bool reads what the cast from bool to text writes
# ("true" and "false") and, as documented, gives the default (false) for anything that it can't
# read, as it gives 0 from text to integers.
# Seen: every text that isn't empty is true, "false", "0", "no" and "NA", too, and nothing fails.
# There and back, [True, False] is [True, True]. A column of text, which is what
# `make_split_dataframe` makes of CSV, loses all that it says: a private count of carriers among
# 100 people of whom 3 are carriers has the mean 100, with the same guarantee and no message.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet opendp==0.16.0 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import importlib.metadata
import warnings

warnings.simplefilter("ignore")
import opendp.prelude as dp

dp.enable_features("contrib")
print("opendp", importlib.metadata.version("opendp"))


def cast(source, target):
    """A transformation of a list of one type into a list of another."""
    domain = dp.vector_domain(dp.atom_domain(T=source))
    return dp.t.make_cast_default(domain, dp.symmetric_distance(), TOA=target)


written = cast(bool, str)([True, False])
back = cast(str, bool)(written)
print("[True, False] as text:", written, "and back:", back)
assert written == ["true", "false"] and back == [True, True]
words = ["true", "1", "false", "False", "0", "no", "NA", ""]
print(words, "as bool:", cast(str, bool)(words))
assert cast(str, bool)(words) == [True] * 7 + [False]
print(words, "as int: ", cast(str, int)(words))
assert cast(str, int)(words) == [0, 1, 0, 0, 0, 0, 0, 0]

table = "\n".join(f"person{i},{'true' if i < 3 else 'false'}" for i in range(100))
carriers = (
    dp.t.make_split_dataframe(separator=",", col_names=["person", "carrier"])
    >> dp.t.make_select_column("carrier", str)
    >> dp.t.then_cast_default(TOA=bool)
    >> dp.t.then_cast_default(TOA=int)
    >> dp.t.then_clamp(bounds=(0, 1))
    >> dp.t.then_sum()
)
noisy = carriers >> dp.m.then_laplace(scale=1.0)
mean = sum(noisy(table) for _ in range(200)) / 200
print(f"3 carriers of 100: sum {carriers(table)}, mean of private counts {mean:.1f}, epsilon {noisy.map(1)}")
assert carriers(table) == 100 and 99 < mean < 101 and abs(noisy.map(1) - 1) < 1e-9
PYTHON
