"""YAML that remembers where every value stands, so that an error can name file, line and key."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

import haplobench
from haplobench.errors import SuiteError, shortened
from haplobench.files import decode, near_names, read_regular

Key = tuple[str | int, ...]
_LARGEST = 2 << 20
_MOST_VALUES = 100_000
_DEEPEST = 50
# Beside its own errors, what PyYAML raises for a date on the 99th or a key that is a list.
_NO_VALUE = (ValueError, TypeError, OverflowError, AttributeError, LookupError)


def key_text(key: Key) -> str:
    """A key for people: `generators[2].params.window`."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@dataclass
class MarkedTree:
    """Plain YAML values, and where each stands.

    Attributes
    ----------
    root : dict
    places : dict
        Key to `file:line`, or to the `--set` that put the value there.
    problems : list[str]
        What is wrong with the YAML itself (a key given twice).
    """

    root: dict[str, Any]
    name: str
    places: dict[Key, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def place(self, key: Key) -> str:
        """Where a key stands, or else the nearest thing around it."""
        for end in range(len(key), -1, -1):
            if key[:end] in self.places:
                return self.places[key[:end]]
        return self.name

    def problem(self, key: Key, message: str) -> str:
        """One line: where, which key, what."""
        text = key_text(key)
        return f"{self.place(key)}: {text}: {message}" if text else f"{self.place(key)}: {message}"

    def merge(self, source: Key, target: Key = ()) -> None:
        """Lay the mapping at `source` over that at `target`: mappings merge, the rest replaces."""
        for key, value in list(leaves(self.get(source))):
            where = target + key
            place = self.place(source + key)
            self.put(where, value, place)
            for deeper in [k for k in self.places if k[: len(source + key)] == source + key]:
                self.places[where + deeper[len(source + key) :]] = self.places[deeper]

    def get(self, key: Key) -> Any:
        """The value at a key; KeyError, IndexError or TypeError if there is none."""
        value: Any = self.root
        for part in key:
            value = value[part]
        return value

    def put(self, key: Key, value: Any, place: str) -> None:
        """Put a value, making mappings on the way; LookupError, naming the key, if it can't be."""
        at: Any = self.root
        for i, part in enumerate(key[:-1]):
            if isinstance(at, list) and isinstance(part, int):
                if not -len(at) <= part < len(at):
                    raise LookupError(f"{key_text(key[: i + 1])}: there are {len(at)} items")
                # `- markov` is short for `- {name: markov}`.
                if isinstance(at[part], str):
                    at[part] = {"name": at[part]}
                at = at[part]
            elif isinstance(at, dict) and isinstance(part, str):
                found = at.get(part)
                if found is not None and not isinstance(found, dict | list):
                    where = key_text(key[: i + 1])
                    raise LookupError(f"{where}: is {found!r}, so it can't have keys")
                if found is None:
                    at[part] = {}
                    self.places.setdefault(key[: i + 1], place)
                at = at[part]
            else:
                raise LookupError(_no_such(key[: i + 1], at))
        last = key[-1]
        if isinstance(at, list) and isinstance(last, int):
            if not -len(at) <= last < len(at):
                raise LookupError(f"{key_text(key)}: there are {len(at)} items")
            at[last] = value
        elif isinstance(at, dict) and isinstance(last, str):
            at[last] = value
        else:
            raise LookupError(_no_such(key, at))
        for old in [k for k in self.places if k[: len(key)] == key]:
            del self.places[old]
        self.places[key] = place


def _no_such(key: Key, at: Any) -> str:
    """Why a list has no named item and a mapping no numbered one, and what to write instead."""
    if isinstance(at, list):
        example = f"{key_text(key[:-1])}[0]"
        return f"{key_text(key)}: a list's items go by number, the first is {example}"
    return f"{key_text(key)}: a mapping's items go by name, not by number"


def leaves(value: Any, key: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Every value that isn't a non-empty mapping, with its key."""
    if isinstance(value, Mapping) and value:
        for part, inner in value.items():
            yield from leaves(inner, (*key, part))
    else:
        yield key, value


def map_texts(value: Any, change: Callable[[Key, str], Any], key: Key = ()) -> Any:
    """A value with every text in it changed; `change` is given each with its key."""
    if isinstance(value, dict):
        return {name: map_texts(item, change, (*key, name)) for name, item in value.items()}
    if isinstance(value, list):
        return [map_texts(item, change, (*key, i)) for i, item in enumerate(value)]
    return change(key, value) if isinstance(value, str) else value


def texts(value: Any, key: Key = ()) -> Iterator[tuple[Key, str]]:
    """Every text in a value, names of keys included, with its key."""
    if isinstance(value, dict):
        for part, inner in value.items():
            yield key, str(part)
            yield from texts(inner, (*key, str(part)))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from texts(inner, (*key, i))
    elif isinstance(value, str):
        yield key, value


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, but `1e-2` and `1E5` are numbers, as in YAML 1.2 and JSON."""


class _Dumper(yaml.SafeDumper):
    """Puts quotes around texts that `_Loader` would read as numbers."""


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
        list("-+.0123456789"),
    )


def write_yaml(value: Any) -> str:
    """YAML that `read_marked` reads as the same value."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def read_marked(path: Path, name: str) -> MarkedTree:
    """Read a YAML file whose root is a mapping; `name` is how errors call it.

    Raises SuiteError, one line with file and line, if it can't be read, isn't YAML or its
    root is something else. A key given twice is listed in `MarkedTree.problems`.
    """
    try:
        text = decode(read_regular(path, _LARGEST))
    except OSError as error:
        raise SuiteError([f"{name}: can't be read: {error.strerror or error}"]) from None
    except ValueError as error:
        raise SuiteError([f"{name}: can't be read: {error}"]) from None
    tree = MarkedTree({}, name)
    try:
        loader = _Loader(text)
    except yaml.YAMLError as error:
        raise SuiteError([f"{name}: not YAML: {_first_line(error)}"]) from None
    try:
        node = loader.get_single_node()
        if node is not None:
            _check_extent(node, name)
            _mark(node, (), tree)
            tree.root = _unshared(loader.construct_document(node))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        context = f" ({error.context})" if error.context else ""
        raise SuiteError(
            [f"{where}: not YAML: {error.problem or error.context}{context}"]
        ) from None
    except RecursionError:
        raise SuiteError([f"{name}: nests too deep"]) from None
    except (yaml.YAMLError, *_NO_VALUE) as error:
        raise SuiteError([f"{name}: not YAML: {_first_line(error)}"]) from None
    finally:
        loader.dispose()
    if not isinstance(tree.root, dict):
        raise SuiteError([f"{name}:1: expected keys and values, found {type(tree.root).__name__}"])
    return tree


def _unshared(value: Any) -> Any:
    """A value in which what an alias names is a copy, so that to change one changes no other."""
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _check_extent(node: yaml.Node, name: str) -> None:
    """Raise SuiteError for what is small as a file and endless, or nearly so, once written out.

    A value named again and again by aliases counts as often as it is named.
    """
    sizes: dict[int, int] = {}
    todo: list[tuple[yaml.Node, bool]] = [(node, False)]
    above: dict[int, int] = {}  # collections around, and how deep each lies
    while todo:
        at, left = todo.pop()
        place = f"{name}:{at.start_mark.line + 1}"
        inner = [at] if isinstance(at, yaml.ScalarNode) else _inner(at)
        if left:
            del above[id(at)]
            sizes[id(at)] = 1 + sum(sizes[id(part)] for part in inner)
            if sizes[id(at)] > _MOST_VALUES:
                raise SuiteError(
                    [f"{place}: more than {_MOST_VALUES:,} values once its aliases are written out"]
                )
        elif isinstance(at, yaml.ScalarNode):
            sizes[id(at)] = 1
        elif id(at) in above:
            raise SuiteError([f"{place}: holds itself, by an alias"])
        elif id(at) not in sizes:
            above[id(at)] = len(above)
            if len(above) > _DEEPEST:
                raise SuiteError([f"{place}: nests deeper than {_DEEPEST} levels"])
            todo.append((at, True))
            todo += [(part, False) for part in inner]


def _inner(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value)


def _mark(node: yaml.Node, key: Key, tree: MarkedTree) -> None:
    tree.places.setdefault(key, f"{tree.name}:{node.start_mark.line + 1}")
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for name, value in node.value:
            line = name.start_mark.line + 1
            part = str(name.value)
            if part in seen:
                tree.problems.append(
                    f"{tree.name}:{line}: {key_text((*key, part))}: "
                    f"given twice, first on line {seen[part]}"
                )
            seen[part] = line
            tree.places[*key, part] = f"{tree.name}:{line}"
            _mark(value, (*key, part), tree)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            _mark(value, (*key, i), tree)


def parse_value(text: str, place: str) -> Any:
    """The value of a piece of YAML; SuiteError, naming the place, if it is none."""
    try:
        node = yaml.compose(text, _Loader)
        if node is None:
            return None
        _check_extent(node, place)
        return yaml.load(text, _Loader)
    except RecursionError:
        raise SuiteError([f"{place}: the value nests too deep"]) from None
    except (yaml.YAMLError, *_NO_VALUE):
        raise SuiteError([f"{place}: the value is not YAML"]) from None


_PATH_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def apply_override(tree: MarkedTree, override: str) -> None:
    """Lay one `key=value` over the tree; the value is YAML.

    Raises SuiteError for text that isn't `key=value` or a key that the tree can't take.
    """
    path, equals, text = override.partition("=")
    override = shortened(override, 200)
    path = path.strip()
    parts = _PATH_PART.findall(path)
    if not equals or not parts or _PATH_PART.sub("", path).strip("."):
        raise SuiteError([f"--set {override}: expected key=value, such as sample.draws=1"])
    key: Key = tuple(int(index[:9]) if index else name for name, index in parts)
    value = parse_value(text, f"--set {override}")
    try:
        tree.put(key, value, f"--set {path}")
    except LookupError as error:
        raise SuiteError([f"--set {override}: {error.args[0]}"]) from None


def structural_problems(value: object, model: type[BaseModel]) -> list[tuple[Key, str]]:
    """Key and message of everything in a value that a model refuses."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        return explain(error, model)
    return []


def explain(error: ValidationError, model: type[BaseModel]) -> list[tuple[Key, str]]:
    """Key and message of each error, in words: what was found, what was expected, near names."""
    found: dict[Key, str] = {}
    for item in error.errors(include_url=False):
        key = tuple(part for part in item["loc"] if not _is_branch(part))
        if item["type"] == "extra_forbidden":
            known = _fields_at(model, key[:-1])
            near = near_names(str(key[-1]), known)
            message = f"unknown key{near}" if near else f"unknown key; known: {', '.join(known)}"
        elif item["type"] == "missing":
            message = "missing, but required"
        elif item["type"] == "value_error":
            message = item["msg"].removeprefix("Value error, ")
        else:
            text = item["msg"].replace("Input should be", "expected").replace("tuple", "list")
            message = f"{text[0].lower()}{text[1:]}, found {_short(item['input'])}"
        # Of the branches of a union, the first says enough.
        found.setdefault(key, message)
    return list(found.items())


def _is_branch(part: str | int) -> bool:
    """Whether a part of pydantic's location names a type of a union rather than a key."""
    return isinstance(part, str) and bool(
        re.fullmatch(
            r"(int|float|str|bool|none|literal|list|dict|tuple|function-.*)(\[.*\])?", part
        )
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _fields_at(model: type[BaseModel], key: Key) -> list[str]:
    for part in key:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        inner = _models_in(field.annotation) if field else []
        if not inner:
            return []
        model = inner[0]
    return list(model.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


# --- where suites lie -----------------------------------------------------------------------


def find_suite(path_or_name: str | Path) -> tuple[Path, str]:
    """The file of a suite, and its name for errors; SuiteError, with near names, if none is."""
    text = str(path_or_name)
    path = Path(text)
    if path.is_file():
        return path, text
    shipped = _shipped_files()
    if text in shipped:
        file = shipped[text]
        return file, f"suites/{file.name}"
    near = near_names(path.stem if path.suffix else text, shipped)
    if path.is_dir():
        raise SuiteError([f"{text}: a folder; expected a suite's YAML file{near}"])
    if path.suffix in (".yaml", ".yml") or os.sep in text:
        raise SuiteError([f"{text}: no such file{near}"])
    listed = "" if near else f"; shipped: {', '.join(shipped) or 'none'}"
    raise SuiteError([f"{text}: neither a file nor a shipped suite{near}{listed}"])


def shipped_suites() -> tuple[str, ...]:
    """Names of the suites that come with haplobench."""
    return tuple(_shipped_files())


def _shipped_files() -> dict[str, Path]:
    package = Path(haplobench.__file__).parent
    # In a wheel the suites lie in the package; in a checkout at its root.
    for folder in (package / "suites", package.parent.parent / "suites"):
        found = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
        if found:
            return found
    return {}
