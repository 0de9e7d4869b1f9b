"""Compiles the sparse engine where a C compiler is found; everything else about the package is in pyproject.toml."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCES = "cards_deck/inference/engines/_sparse"


class BuildKernels(build_ext):
    """The kernels are one plain shared library, not a Python module: their own script knows how to compile them."""

    def build_extension(self, ext: Extension) -> None:
        """Compile into the wheel, or say once why not."""
        build = runpy.run_path(f"{SOURCES}/build.py")
        target = Path("." if self.inplace else self.build_lib, SOURCES, build["LIBRARY"])
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            build["compile_library"](target)
        except (build["NoCompilerError"], OSError, subprocess.CalledProcessError) as error:
            why = getattr(error, "stderr", "") or error
            print(f"cards-deck: installing without the sparse engine (optional): {why}", file=sys.stderr)

    def get_ext_filename(self, fullname: str) -> str:
        """Where the library lies in the package."""
        return f"{SOURCES}/libsparse.so"

    def get_outputs(self) -> list[str]:
        """Nothing that must exist: the extension is optional."""
        return []

    def copy_extensions_to_source(self) -> None:
        """It is compiled in place already."""


setup(
    ext_modules=[Extension("cards_deck.inference.engines._sparse.libsparse", [])], cmdclass={"build_ext": BuildKernels}
)
