"""The one thing that pyproject.toml cannot say: with libraries inside, the wheel is for one
platform and any Python 3, since nothing of it is compiled against Python."""
import pathlib

from setuptools import setup
from setuptools.dist import Distribution
from wheel.bdist_wheel import bdist_wheel

bundled = (pathlib.Path(__file__).parent / "vnet" / "_libs").is_dir()


class PlatformDistribution(Distribution):
    def has_ext_modules(self):
        return bundled


class PlatformWheel(bdist_wheel):
    def get_tag(self):
        python, abi, platform = super().get_tag()
        return ("py3", "none", platform if bundled else "any")


setup(distclass=PlatformDistribution, cmdclass={"bdist_wheel": PlatformWheel})
