"""Questions about parameters, mined from the documentation of installed Python packages.

    "what is tol in NuSVR" -> "Tolerance for stopping criterion."

The candidates are the descriptions of all parameters of that function, so a wrong candidate is on
the same subject as the right one. Sources are read with `ast`; no package is imported.
"""

import ast
import gc
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from inspect import cleandoc
from pathlib import Path
from typing import NamedTuple

from apps.answer_selection.corpora.formats import Candidate, Parts, Question
from apps.answer_selection.corpora.sentence_splitter import split_sentences
from common.inputs import datasets

# import name -> name for pip
PACKAGES = {
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "keras": "keras",
    "tensorflow": "tensorflow",
    "matplotlib": "matplotlib",
}
MIN_CANDIDATES = 4  # fewer leave little to choose: guessing has an MRR of .38 with these
MAX_USES = 5  # "A name for the operation (optional)." stands in a thousand functions
HELD_BACK_SHARE = 0.1  # of the modules, for validation, and as many for test
MAX_WORDS = 60

# Tests, re-exports, generated wrappers, internals of TensorFlow and its old copy of Keras.
_SKIPPED = re.compile(
    r"(^|/)(tests?|testing|_?api|_tf_keras)/|/(gen_\w+|test_\w+|\w+_test(_util)?s?)\.py$|"
    r"^tensorflow/(compiler|dtensor|include|lite|tools)/|"
    r"^tensorflow/python/(autograph|compiler|debug|distribute|keras|profiler|tools|tpu)/"
)
_HAS_PARAMETERS = re.compile(rb"Parameters\r?\n\s*---|Args:|Arguments:")
_NUMPY_SECTION = re.compile(r"^Parameters\n-{3,}\n", re.MULTILINE)
_NUMPY_NEXT = re.compile(r"^\S[^\n]*\n-{3,} *$", re.MULTILINE)
_GOOGLE_SECTION = re.compile(r"^(?:Args|Arguments):[ ]*\n", re.MULTILINE)
_BLOCKS = re.compile(r"^(?=\S)", re.MULTILINE)  # they begin at lines that are not indented
_NAME = re.compile(r"[*`]*([A-Za-z_]\w*)")
_ENTRY = re.compile(r"[*`]*([A-Za-z_]\w*)[^:\n]*?:")


class Documented(NamedTuple):
    """A function or class with the first sentence about each of its parameters."""

    module: str
    name: str
    descriptions: dict[str, str]  # by parameter


def read(folders: Sequence[Path]) -> Parts:
    """Questions of the packages by part; a module is in one of them as a whole."""
    parts: Parts = {"train": [], "validation": [], "test": []}
    for function in mine(folders):
        parts[_part(function.module)] += _questions(function)
    return parts


def mine(folders: Sequence[Path]) -> list[Documented]:
    """Reads packages in a fixed order.

    Copied functions are left out, boilerplate is capped, and each function has at least
    `MIN_CANDIDATES` distinct descriptions.
    """
    uses: Counter[str] = Counter()
    owners: dict[str, set[int]] = {}
    functions: list[Documented] = []
    for function in _read_packages(folders):
        if _is_copy(function, owners):
            continue
        descriptions = {}
        for parameter, text in function.descriptions.items():
            if uses[text] < MAX_USES and text not in descriptions.values():
                descriptions[parameter] = text
        if len(descriptions) < MIN_CANDIDATES:
            continue
        uses.update(descriptions.values())
        for text in function.descriptions.values():
            owners.setdefault(text, set()).add(len(functions))
        functions.append(function._replace(descriptions=descriptions))
    return functions


def _part(module: str) -> str:
    if datasets.is_held_back(module, share=HELD_BACK_SHARE):
        return "validation"
    return "test" if datasets.is_held_back(f"test {module}", share=HELD_BACK_SHARE) else "train"


def _questions(function: Documented) -> Iterator[Question]:
    for parameter in function.descriptions:
        candidates = [
            Candidate(text, int(name == parameter)) for name, text in function.descriptions.items()
        ]
        question_id = f"{function.module}.{function.name}.{parameter}"
        yield Question(question_id, f"what is {parameter} in {function.name}", candidates)


def _is_copy(function: Documented, owners: dict[str, set[int]]) -> bool:
    """Whether a function that was kept shares most of these descriptions."""
    shared = Counter(
        owner for text in function.descriptions.values() for owner in owners.get(text, ())
    )
    return max(shared.values(), default=0) > len(function.descriptions) / 2


def _read_packages(folders: Sequence[Path]) -> Iterator[Documented]:
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            name = path.relative_to(folder.parent).as_posix()
            source = b"" if _SKIPPED.search(name) else path.read_bytes()
            if not _HAS_PARAMETERS.search(source):
                continue
            try:
                tree = _parse(source)
            except SyntaxError:  # a file for another version of Python
                continue
            module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            functions = {}
            for function, docstring in _docstrings(tree):
                descriptions = parameters(docstring)
                if len(descriptions) >= MIN_CANDIDATES:  # of a class or of its __init__: the first
                    functions.setdefault(function, Documented(module, function, descriptions))
            yield from functions.values()


def _parse(source: bytes) -> ast.Module:
    gc.disable()  # so many objects that the collector would look through all of TensorFlow's often
    try:
        return ast.parse(source)
    finally:
        gc.enable()


def _docstrings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The public functions, classes and methods of a module with their docstrings."""
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        yield node.name, ast.get_docstring(node, clean=False) or ""
        for method in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(method, ast.FunctionDef) and re.match("[^_]|__init__$", method.name):
                name = node.name if method.name == "__init__" else f"{node.name}.{method.name}"
                yield name, ast.get_docstring(method, clean=False) or ""


def parameters(docstring: str) -> dict[str, str]:
    """The first sentence about each parameter, from a NumPy or Google docstring."""
    docstring = cleandoc(docstring)
    entries = list(_numpy_entries(docstring)) or _google_entries(docstring)
    sentences_by_name = {}
    for name, description in entries:
        sentences = split_sentences(_plain(description).split("\n\n")[0])
        if sentences and 2 <= len(sentences[0].split()) <= MAX_WORDS:
            sentences_by_name.setdefault(name, sentences[0])
    return sentences_by_name


def _numpy_entries(docstring: str) -> Iterator[tuple[str, str]]:
    """Entries `name : type` with the description indented below."""
    if section := _NUMPY_SECTION.search(docstring):
        following = _NUMPY_NEXT.search(docstring, section.end())
        body = docstring[section.end() : following.start() if following else None]
        for block in _BLOCKS.split(body):
            head, _, description = block.partition("\n")
            if name := _NAME.match(head):
                yield name[1], cleandoc("\n" + description)


def _google_entries(docstring: str) -> Iterator[tuple[str, str]]:
    """Entries `name: description` or `name (type): description`, indented below "Args:"."""
    if section := _GOOGLE_SECTION.search(docstring):
        body = _BLOCKS.split(docstring[section.end() :], maxsplit=1)[0]
        for block in _BLOCKS.split(cleandoc("\n" + body)):
            if name := _ENTRY.match(block):
                first, _, rest = block[name.end() :].partition("\n")
                yield name[1], first.strip() + "\n" + cleandoc("\n" + rest)


def _plain(text: str) -> str:
    """Without the marks of reStructuredText and Markdown."""
    text = re.sub(r":[\w:]+:`~?([^`]*)`", r"\1", text)
    return re.sub(r"`+|\*\*|\$", "", text).strip()
