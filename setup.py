"""What a Dataflow worker installs (`--setup_file`): our packages; everything else is in pyproject.toml."""

from setuptools import find_packages, setup

PACKAGES = ("schemas", "storage", "metrics", "models", "pipelines", "analysis", "samples", "concord")

setup(
    packages=find_packages(include=[pattern for name in PACKAGES for pattern in (name, f"{name}.*")]),
    package_data={"samples": ["*.toml"], "analysis": ["templates/*", "*.sql"]},
)
