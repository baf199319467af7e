# SPDX-License-Identifier: Apache-2.0
"""The two things pyproject.toml cannot say: the C extension, and one abi3 wheel for all CPythons."""

import sysconfig

from setuptools import setup

free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

setup(
    cffi_modules=["csrc/build_core.py:builder"],
    options={} if free_threaded else {"bdist_wheel": {"py_limited_api": "cp311"}},
)
