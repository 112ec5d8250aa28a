"""TorchScript files: their source is read before torch loads them, and what it may use is listed.

Loading a script runs parts of it, and its language can write files (``torch.save``,
``torch.from_file``) and call every operator that is registered. So every word of its source that is
the name of an operator has to be on the list of those that compute. Torch gets a fresh archive of
the records that were checked, so that both read the same.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from functools import cache
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from captum_robust.audit.ask.usage import OF_USER_CODE, first_line
from captum_robust.audit.load.program.archive import Refused
from captum_robust.audit.load.program.operators import is_known

_RECORDS: Final = re.compile(
    r"(?P<code>code/[\w./]+\.py)|(?P<pickle>data\.pkl|constants\.pkl)"
    r"|(?P<raw>(data|constants)/[0-9]{1,9}|version|byteorder|\.data/version)"
)
_UNREAD: Final = re.compile(
    r"code/[\w./]+\.debug_pkl|\.data/serialization_id|traced_inputs.*|extra/.*"
)
_FORBIDDEN: Final = ("classes", "fork", "awaitable")  # compiled classes, other threads
_WORD: Final = re.compile(r"\w+")
_NAMESPACE: Final = re.compile(r"(?<![\w.])ops\s*[.\\]\s*(\w+)")
_COMPILED: Final = re.compile(rb"(?<!\w)classes[.\n]")
_MOST: Final = 2**28  # bytes of source and pickles
# Operators of the language itself: on numbers, texts, lists and dictionaries in memory.
_TEXT: Final = """
Bool Delete DictConstruct Float FloatImplicit Int IntImplicit ListConstruct ListUnpack NumToTensor
Print RaiseException ScalarImplicit TupleConstruct TupleIndex TupleUnpack Uninitialized
__contains__ __delitem__ __derive_index __getitem__ __is__ __isnot__ __not__ __range_length
__round_to_zero_floordiv __upper_to _set_item absolute annotate append backward bernoulli bin bool
ceil center chr clear collapse complex copy count cpu cross cuda data dense_dim device dict dim
divide dtype element_size endswith equal eval extend factorial find float floor floordiv fmod
format gcd get get_device grad gradient greater hash hex hstack id index indices inner insert int
is_complex is_contiguous is_cuda is_floating_point is_leaf is_nested is_quantized is_sparse
isalpha isdigit item items itemsize join keys layout len length less list lower lstrip max min
mode multiply name names nbytes ndim negative next_generic nonzero normal numel oct ord output_nr
partition pin_memory pop popitem print profile quantile radians rand randint randn random range
rangelist real remove replace requires_grad reverse round rstrip select_int set shape size sizes
sort sorted split splitlines startswith storage_offset str stride strip subtract sum sym_size take
tensor title to to_dense to_list tolist trace train training tuple type unchecked_cast
unchecked_unwrap_optional uniform update upper values vstack warn xor zero zfill
"""
_LANGUAGE: Final = frozenset(_TEXT.split())


class Script(nn.Module):
    """A TorchScript module run as it is written: optimised after some calls, its digits move."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = False

    def forward(self, inputs: Tensor) -> Tensor:
        """The scores."""
        with torch.jit.optimized_execution(False):
            return self.model(inputs)


def load_script(path: Path, device: str) -> nn.Module:
    """A TorchScript file whose source uses nothing but operators that compute.

    Raises:
        Refused: naming what it uses, or what is wrong with the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            checked = _checked(archive)
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise Refused(f"the archive is damaged ({type(error).__name__})") from None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*deprecated")
        try:
            model = torch.jit.load(io.BytesIO(checked), map_location=device)
        except OF_USER_CODE as error:
            raise Refused(f"torch cannot load it: {first_line(error).rstrip('.')}") from None
    return Script(model.eval())


def _checked(archive: zipfile.ZipFile) -> bytes:
    """An archive of the records that were checked, and of no others."""
    infos = archive.infolist()
    names = [info.filename.partition("/")[2] for info in infos]
    if len({name.lower() for name in names}) != len(names):
        raise Refused("a name occurs twice")
    if sum(info.file_size for info in infos if info.compress_type) > _MOST:
        raise Refused("it is too large")
    fresh = io.BytesIO()
    with zipfile.ZipFile(fresh, "w", zipfile.ZIP_STORED) as written:
        for name, info in zip(names, infos, strict=True):
            found = _RECORDS.fullmatch(name)
            if found is not None:
                content = archive.read(info)
                _check(name, found.lastgroup, content)
                written.writestr(f"script/{name}", content)
            elif not _UNREAD.fullmatch(name):
                raise Refused(f"it holds {name!r}, which is not part of a TorchScript model")
    return fresh.getvalue()


def _check(name: str, kind: str | None, content: bytes) -> None:
    """Raises where a record could do more than compute."""
    if kind == "pickle" and _COMPILED.search(content):
        raise Refused(f"{name!r} holds an object of a compiled class")
    if kind != "code":
        return
    try:
        source = content.decode("ascii")
    except UnicodeDecodeError:
        raise Refused(f"{name!r} is not plain text") from None
    for namespace in _NAMESPACE.findall(source):
        if namespace != "prim":
            raise Refused(f"{name!r} uses operators of {namespace!r}")
    for word in sorted({*_WORD.findall(source)}):
        if word in ("classes", "fork", "awaitable") or (
            word in _registered() and not _harmless(word)
        ):
            raise Refused(f"{name!r} uses {word!r}, which is not among the operators run of a file")


def _harmless(word: str) -> bool:
    return is_known(word) or word in _LANGUAGE or word.removesuffix("_") in _LANGUAGE


@cache
def _registered() -> frozenset[str]:
    """The names of all operators that a script could call."""
    schemas = torch._C._jit_get_all_schemas()
    return frozenset(schema.name.split("::")[-1] for schema in schemas)
