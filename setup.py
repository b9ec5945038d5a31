# colcon needs this file. It reads the arguments back as literals, which the object that setuptools
# makes of `requires-python` in pyproject.toml is not.
from setuptools import setup

setup(python_requires=">=3.11")
