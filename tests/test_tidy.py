"""What the source must look like, where no linter knows it."""

import ast
import importlib
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from shmq import jit

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "shmq"
MODULES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 50
NAMELESS = {"utils", "util", "common", "helpers", "helper", "base", "manager", "misc"}
KERNEL_MARKS = {"kernel", "entry", "kernel_apart"}
UNFINISHED = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX\\b", "NotImplemented" + "Error")))


def named(path):
    """The dotted name of a module's file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def functions(tree):
    return [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]


def module_id(path):
    return path.relative_to(ROOT).as_posix()


def test_there_is_source_to_look_at():
    assert len(MODULES) > 100


def test_no_file_is_longer_than_a_reader_bears():
    long = {module_id(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: lines for name, lines in long.items() if lines > FILE_LINES_MAX} == {}


def test_no_function_is_longer_than_a_screen():
    long = [
        f"{module_id(path)}: {each.name}"
        for path, tree in TREES.items()
        for each in functions(tree)
        if each.end_lineno - each.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_no_module_has_a_name_that_says_nothing():
    names = {part for path in MODULES for part in path.relative_to(ROOT).with_suffix("").parts}
    assert names & NAMELESS == set()


def test_packages_hold_a_docstring_and_no_more():
    # And the version; and `shmq.store.scan`, lazily.
    allowed = {PACKAGE / "__init__.py": 2, PACKAGE / "store" / "__init__.py": 3}
    for path, tree in TREES.items():
        if path.name == "__init__.py":
            assert ast.get_docstring(tree), module_id(path)
            assert len(tree.body) == allowed.get(path, 1), module_id(path)


def test_every_folder_of_modules_is_a_package():
    assert {path.parent for path in MODULES} == {
        path.parent for path in MODULES if path.name == "__init__.py"
    }


def test_modules_and_what_they_offer_say_what_they_are():
    silent = [module_id(path) for path, tree in TREES.items() if not ast.get_docstring(tree)]
    assert silent == []


def test_nothing_is_left_for_later():
    unfinished = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in ("shmq", "tests", "tools", "perf")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if UNFINISHED.search(line.replace("TOPIC_XXXX", ""))
    ]
    assert unfinished == []


def test_nobody_sleeps_by_the_clock():
    """Whoever waits does so in epoll or on a doorbell, and says for what."""
    sleepers = [
        module_id(path)
        for path, tree in TREES.items()
        for each in ast.walk(tree)
        if (
            isinstance(each, ast.Attribute)
            and each.attr == "sleep"
            and getattr(each.value, "id", "") == "time"
        )
        or (
            isinstance(each, ast.ImportFrom)
            and each.module == "time"
            and any(a.name == "sleep" for a in each.names)
        )
    ]
    assert sleepers == ["shmq/local/waiting.py"], (
        "only a process outside the broker waits for what has no bell"
    )


def test_a_name_is_imported_from_where_it_is_defined():
    passed_on = []
    for path, tree in TREES.items():
        for each in ast.walk(tree):
            if isinstance(each, ast.ImportFrom) and (each.module or "").startswith("shmq"):
                passed_on += [
                    f"{module_id(path)}: {each.module}.{alias.name}"
                    for alias in each.names
                    if not _is_defined(each.module, alias.name)
                ]
    assert passed_on == []


def _is_defined(module, name):
    """Whether a module itself defines a name, or is the package of a module of that name."""
    path = ROOT.joinpath(*module.split("."))
    if (path / f"{name}.py").exists() or (path / name / "__init__.py").exists():
        return True
    tree = TREES[path / "__init__.py" if path.is_dir() else path.with_suffix(".py")]
    return name in _defined_names(tree.body)


def _defined_names(body):
    names = set()
    for each in body:
        match each:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign(targets=targets):
                names |= {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.If(body=then, orelse=otherwise):
                names |= _defined_names(then) | _defined_names(otherwise)
    return names


def test_every_package_has_a_layer():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = settings["tool"]["importlinter"]["contracts"][0]
    placed = {name.strip() for layer in contract["layers"] for name in layer.split("|")}
    placed |= set(contract["exhaustive_ignores"])
    there = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES} - {"__init__"}
    assert there - placed == set()


# Layouts: the table of a docstring and the dtype beneath it.

LAYOUT_NAME = re.compile(r"^([A-Z_]+_)?LAYOUT$", re.MULTILINE)
LAYOUT_MODULES = [
    path for path, tree in TREES.items() if any(LAYOUT_NAME.match(name) for name in _defined_names(tree.body))
]


def tables(docstring):
    """The tables of a docstring, each as ({field: (offset, size or None)}, size of the whole or None)."""
    found, fields, columns = [], {}, None
    for line in docstring.splitlines():
        if re.match(r"\s*offset\s", line):
            columns = (line.index("field"), "size" in line)
            continue
        row = re.match(r"\s*(\d+)(?:\s+(\d+))?(?=\s|$)", line)
        if columns is None or row is None or not line[: columns[0]].strip().replace(" ", "").isdigit():
            continue
        offset, size = int(row[1]), row[2]
        if columns[1] and size is None:
            found.append((fields, offset))
            fields = {}
            continue
        name = line[columns[0] :]
        if name[:1].strip():
            fields[name.split()[0]] = (offset, int(size) if size else None)
        elif not columns[1] and len(line.split()) == 1:
            found.append((fields, offset))
            fields = {}
    return [*found, (fields, None)] if fields else found


@pytest.mark.parametrize("path", LAYOUT_MODULES, ids=module_id)
def test_the_table_of_a_layout_agrees_with_its_dtype(path):
    module = importlib.import_module(named(path))
    layouts = [
        value
        for name, value in vars(module).items()
        if LAYOUT_NAME.match(name) and isinstance(value, np.dtype)
    ]
    told = tables(module.__doc__)
    assert len(told) == len(layouts)
    for (fields, size_bytes), layout in zip(told, layouts, strict=True):
        stated = {name: (int(field[1]), field[0].itemsize) for name, field in layout.fields.items()}
        assert {name: offset for name, (offset, _) in fields.items()} == {
            name: offset for name, (offset, _) in stated.items()
        }
        for name, (_, size) in fields.items():
            assert size in (None, stated[name][1]), name
        assert size_bytes in (None, layout.itemsize)


def test_layouts_are_looked_at():
    assert len(LAYOUT_MODULES) >= 9


def decorators(function):
    """The names with which a function is marked."""
    return {each.id for each in function.decorator_list if isinstance(each, ast.Name)}


def marked(tree, mark):
    """The functions of a module that have a mark."""
    return {each.name for each in tree.body if isinstance(each, ast.FunctionDef) and mark in decorators(each)}


def test_the_cache_of_kernels_knows_every_module_that_holds_any():
    """What it does not know may change, and a stale kernel is loaded."""
    unknown = [
        module_id(path)
        for path, tree in TREES.items()
        if any(marked(tree, mark) for mark in KERNEL_MARKS)
        and not jit._may_hold_kernels(path, path.read_bytes())
    ]
    assert unknown == []


def kernels_in_sight(path, kernels):
    """What a module knows of other modules' kernels: by a name of their own, and by their module's."""
    direct, modules = {name: (named(path), name) for name in kernels[named(path)]}, {}
    for each in ast.walk(TREES[path]):
        if isinstance(each, ast.ImportFrom) and each.module is not None:
            for alias in each.names:
                name = alias.asname or alias.name
                if f"{each.module}.{alias.name}" in kernels:
                    modules[name] = f"{each.module}.{alias.name}"
                elif alias.name in kernels.get(each.module, ()):
                    direct[name] = (each.module, alias.name)
    return direct, modules


def kernels_named_in_python(path, kernels):
    """Which kernels a module's own Python names, outside its kernels."""
    direct, modules = kernels_in_sight(path, kernels)
    python = [
        each
        for each in TREES[path].body
        if not (isinstance(each, ast.FunctionDef) and decorators(each) & KERNEL_MARKS)
    ]
    for each in (node for statement in python for node in ast.walk(statement)):
        if isinstance(each, ast.Name) and each.id in direct:
            yield direct[each.id]
        elif isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name):
            module = modules.get(each.value.id)
            if module is not None and each.attr in kernels[module]:
                yield module, each.attr


def test_a_kernel_that_python_calls_is_an_entry():
    """Others are compiled into their callers alone: nobody may come to compile one after the fork."""
    entries = {named(path): marked(tree, "entry") for path, tree in TREES.items()}
    kernels = {
        named(path): {name for mark in KERNEL_MARKS for name in marked(tree, mark)}
        for path, tree in TREES.items()
    }
    called = {each for path in MODULES for each in kernels_named_in_python(path, kernels)}
    stated = {(module, name) for module, names in entries.items() for name in names}
    assert len(called) > 50
    assert called == stated
