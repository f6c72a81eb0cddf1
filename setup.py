"""The compiled part of the package; all else is in pyproject.toml."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "streamlearn._native",
            ["streamlearn/_native.pyx"],
            depends=["streamlearn/_kernels.h"],
            extra_compile_args=["-O3"],
            optional=True,  # without a compiler NumPy does the same work
        )
    ]
)
