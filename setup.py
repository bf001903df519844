"""What a Dataflow worker installs (`--setup_file`): the four packages; everything else is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=find_packages(include=["schemas*", "models*", "pipelines*", "analysis*"]),
    package_data={"pipelines": ["runs/*.toml"], "analysis": ["templates/*", "*.sql"]},
)
