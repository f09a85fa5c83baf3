#!/bin/sh
# msgspec 0.22.0: a dataclass made by convert or a decoder lacks, in its __dict__, the fields left out.
#
# Expected: `convert({"x": 2}, Record)` is what `Record(x=2)` is: every field is in the object, whether
# it was given or has a default, as it is after pydantic or cattrs made it.
# Seen: a field that was left out and has a plain default isn't set; reading it finds the class's own
# attribute. `==`, `repr`, `asdict` and msgspec's own encoder hide that. `vars()` lacks the field, so that
# templates, tables and digests made of it lose a column, and a pickle or copy takes whatever default the
# class has where it is read: a record written before a default changed has the new one afterwards.
# Fields with a default_factory, and all fields of msgspec's own Struct, are set.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet msgspec==0.22.0 pydantic==2.12.5 cattrs==25.3.0 >pip.log 2>&1 || { cat pip.log; exit 1; }
venv/bin/python - <<'PYTHON'
import pickle
from dataclasses import asdict, dataclass, field
from importlib.metadata import version

import cattrs
import msgspec
from pydantic import TypeAdapter

print(*(f"{name} {version(name)}" for name in ("msgspec", "pydantic", "cattrs")))


@dataclass
class Record:
    x: int
    unit: str = "bp"
    labels: list[str] = field(default_factory=list)


class Struct(msgspec.Struct):
    x: int
    unit: str = "bp"


called = Record(x=2)
made = msgspec.convert({"x": 2}, Record)
decoded = msgspec.json.decode(b'{"x": 2}', type=Record)
others = (TypeAdapter(Record).validate_python({"x": 2}), cattrs.structure({"x": 2}, Record))
print("called: ", vars(called))
print("msgspec:", vars(made), vars(decoded))
print("others: ", *map(vars, others))
assert made == decoded == called and asdict(made) == asdict(called)
assert all(vars(other) == vars(called) == {"x": 2, "unit": "bp", "labels": []} for other in others)
assert vars(made) == vars(decoded) == {"x": 2, "labels": []}
assert msgspec.structs.asdict(msgspec.convert({"x": 2}, Struct)) == {"x": 2, "unit": "bp"}

kept = {name: pickle.dumps(value) for name, value in (("called", called), ("msgspec", made))}
Record.unit = "cM"  # As in a later release.
units = {name: pickle.loads(value).unit for name, value in kept.items()}
print("unit of a pickle after the default became cM:", units)
assert units == {"called": "bp", "msgspec": "cM"}
PYTHON
