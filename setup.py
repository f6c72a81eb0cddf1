"""The compiled part of the package; all else is in pyproject.toml."""

import numpy
from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "streamlearn._native",
            ["streamlearn/_native.pyx"],
            depends=[
                "streamlearn/_kernels.h",
                "streamlearn/_locate.h",
                "streamlearn/_native_plans.pxi",
                "streamlearn/_visits.h",
                "streamlearn/_within.h",
            ],
            include_dirs=[numpy.get_include()],
            define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
            extra_compile_args=["-O3"],
            optional=True,  # without a compiler NumPy does the same work
        )
    ]
)
