# SPDX-License-Identifier: Apache-2.0
"""The cffi builder of ledger._core: the declarations between two markers of each public header, and csrc/*.c.

LEDGER_FAULTS=1 in the environment makes a test build, whose system calls can be made to fail."""

import os
import re
import sysconfig
from pathlib import Path

from cffi import FFI

folder = Path(__file__).resolve().parent
root = folder.parent
faults = os.environ.get("LEDGER_FAULTS") == "1"

headers = [(folder / name).read_text() for name in ("ledger_core.h", "ledger_index.h")]
declarations = "".join(text.split("/* cffi: begin */")[1].split("/* cffi: end */")[0] for text in headers)
if not faults:
    declarations = re.sub(r"/\* faults: begin \*/.*?/\* faults: end \*/", "", declarations, flags=re.S)

sources = sorted(p for p in folder.glob("*.c") if faults or p.name != "os_fault.c")
macros = [("_GNU_SOURCE", "1")] + ([("LEDGER_FAULTS", "1")] if faults else [])

builder = FFI()
builder.cdef(declarations)
builder.set_source(
    "ledger._core",
    '#include "ledger_core.h"\n#include "ledger_index.h"',
    sources=[os.path.relpath(p, os.getcwd()) for p in sources],
    include_dirs=[str(folder)],
    depends=[str(p) for p in sorted(folder.glob("*.h"))] + [str(Path(__file__).resolve())],
    define_macros=macros,
    extra_compile_args=["-std=c11", "-O2", "-fvisibility=hidden", "-pthread"],
    extra_link_args=["-pthread"],
    py_limited_api=not sysconfig.get_config_var("Py_GIL_DISABLED"),
)
