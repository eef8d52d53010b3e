"""The base class of the data set builders of all apps."""

import ast
import dataclasses
import hashlib
import importlib.util
from pathlib import Path

import tensorflow_datasets as tfds


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # pyright: ignore
    """A `GeneratorBasedBuilder` that is not known by name, and whose data is that of its code.

    tensorflow-datasets registers each builder under its class name and refuses a second one, so
    that a copy of an app could not be imported beside the original.

    It also takes data that is there for prepared, whatever code made it. Here the name of the
    config, and so the folder of the data, ends in a hash of the readers: of the module of the class
    and of all that it imports of its app and of common/inputs (see `modules_of_readers`). Comments
    and docstrings do not count. Data of other code stays where it is, since a training may be
    reading it.
    """

    def __init_subclass__(cls, **options):
        super().__init_subclass__(skip_registration=True, **options)

    def __init__(self, *, config: tfds.core.BuilderConfig | None = None, **options):
        code = f"code-{_digest_of_readers(type(self).__module__)}"
        if config is None:
            config = tfds.core.BuilderConfig(name=code)
        elif not config.name.endswith(code):  # it does in a copy by pickle
            config = dataclasses.replace(config, name=f"{config.name}-{code}")
        super().__init__(config=config, **options)


def modules_of_readers(module: str) -> dict[str, Path]:
    """The source files of `module` and of all that it imports of its app and of common/inputs.

    Its app are the modules that share the first two parts of its name, without `config`: a builder
    gets the values of options, and has them in its name.
    """
    prefixes = (".".join(module.split(".")[:2]) + ".", f"{__package__}.")
    sources: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        ours = f"{name}.".startswith(prefixes) and not name.endswith(".config")
        if name in sources or not ours or (path := _source_file(name)) is None:
            continue
        sources[name] = path
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                package = name if path.stem == "__init__" else name.rpartition(".")[0]
                relative = "." * node.level + (node.module or "")
                base = importlib.util.resolve_name(relative, package)
                waiting += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return sources


def _source_file(module: str) -> Path | None:
    """The file of a module, which is not imported; None for what is no module."""
    first, *rest = module.split(".")
    spec = None if first == "__main__" else importlib.util.find_spec(first)
    if spec is None or spec.submodule_search_locations is None:
        return Path(spec.origin) if spec and spec.origin and not rest else None
    path = Path(next(iter(spec.submodule_search_locations)), *rest)
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in candidates if file.is_file()), None)


def _digest_of_readers(module: str) -> str:
    digest = hashlib.sha256()
    for name, path in sorted(modules_of_readers(module).items()):
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                if ast.get_docstring(node, clean=False) is not None:
                    del node.body[0]
        digest.update(f"{name} {ast.dump(tree)}\n".encode())
    return digest.hexdigest()[:8]
