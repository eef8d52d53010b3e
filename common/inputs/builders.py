"""The base class of the data set builders of all apps."""

import ast
import dataclasses
import hashlib
import sys
from pathlib import Path

import tensorflow_datasets as tfds

from common.inputs.datasets import BrokenRows


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # pyright: ignore
    """A `GeneratorBasedBuilder` that is not known by name, and whose data is that of its code.

    tensorflow-datasets registers each builder under its class name and refuses a second one, so
    that a copy of an app could not be imported beside the original.

    It also takes data that is there for prepared, whatever code made it. Here the name of the
    config, and so the folder of the data, ends in a hash of the readers: of the module of the
    class, of datasets.py and corpora/ of its app and of common/inputs. Comments and docstrings do
    not count. Data of other code stays where it is, since a training may be reading it.

    Attributes:
        broken: the rows that cannot be used, under what stands before a "-" in the config's name.
        on_beam: whether an Apache Beam pipeline prepares the data.
    """

    def __init_subclass__(cls, **options):
        super().__init_subclass__(skip_registration=True, **options)

    def __init__(self, *, config: tfds.core.BuilderConfig | None = None, **options):
        code = f"code-{_digest_of_readers(type(self).__module__)}"
        own = config or tfds.core.BuilderConfig(name=code)
        if not own.name.endswith(code):  # it does in a copy by pickle
            own = dataclasses.replace(own, name=f"{own.name}-{code}")
        self.broken, self.on_beam = BrokenRows(own.name.partition("-")[0]), False
        super().__init__(config=own, **options)


def _digest_of_readers(module: str) -> str:
    file = Path(str(sys.modules[module].__file__))
    app = file.parent.parent if file.parent.name == "corpora" else file.parent
    readers = {file, *app.glob("datasets.py"), *app.glob("corpora/*.py")}
    readers |= set(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256()
    for path in sorted(readers, key=lambda path: path.parts[-3:]):
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                if ast.get_docstring(node, clean=False) is not None:
                    del node.body[0]
        digest.update(f"{path.name} {ast.dump(tree)}\n".encode())
    return digest.hexdigest()[:8]
