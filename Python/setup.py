"""Builds libgyre with the Swift toolchain and puts it into the package.

GYRE_LIBRARY names one that is built already; then no toolchain is needed.
"""

import os
import pathlib
import shutil
import subprocess
import sys

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent


def built_library():
    """The path of libgyre, built unless it is named."""
    named = os.environ.get("GYRE_LIBRARY")
    if named:
        if not pathlib.Path(named).is_file():
            sys.exit(f"gyre: GYRE_LIBRARY names '{named}', which is no file.")
        return pathlib.Path(named)
    if not (ROOT / "Package.swift").is_file():
        sys.exit(
            "gyre: there are no Swift sources beside the Python folder; install from a checkout, or "
            "name a libgyre.so in GYRE_LIBRARY."
        )
    if not shutil.which("swift"):
        sys.exit(
            "gyre: no Swift toolchain found; install Swift 6.3 or newer from "
            "https://www.swift.org/install/linux, or name a libgyre.so in GYRE_LIBRARY."
        )
    command = ["swift", "build", "--package-path", str(ROOT), "-c", "release"]
    command += ["--no-color-diagnostics", "--product", "GyreC"]
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        sys.exit("gyre: the build of libgyre failed; what the compiler said is above.")
    return ROOT / ".build" / "release" / "libGyreC.so"


class BuildWithLibrary(build_py):
    """Copies the library beside the modules."""

    def run(self):
        super().run()
        folder = HERE if self.editable_mode else pathlib.Path(self.build_lib)
        target = folder / "gyre" / "libgyre.so"
        shutil.copyfile(built_library(), target)
        strip = shutil.which("strip")
        if strip:
            subprocess.run([strip, "--strip-unneeded", str(target)], check=True)


class PlatformWheel(bdist_wheel):
    """For any Python 3, on machines of this kind."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


class BinaryDistribution(Distribution):
    """Has a library that is built."""

    def has_ext_modules(self):
        return True


setup(
    cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": PlatformWheel},
    distclass=BinaryDistribution,
    package_data={"gyre": ["libgyre.so"]},
)
