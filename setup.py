"Reads settings.ini, the one place of metadata."
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

here = Path(__file__).parent
config = ConfigParser(delimiters=["="], interpolation=None)
config.read(here / "settings.ini", encoding="utf-8")
settings = config["DEFAULT"]
lines = lambda key: [line.strip() for line in settings.get(key, "").splitlines() if line.strip()]
modules = sorted(p.parent for p in here.glob("gymenv_nb/**/__init__.py"))
packages = [".".join(p.relative_to(here).parts) for p in modules]

# data/ and the example notebooks stand at the top of the checkout and inside the package in a wheel.
setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=(here / "README.md").read_text(encoding="utf-8") if (here / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    author=settings["author"],
    author_email=settings["author_email"],
    url=settings["git_url"],
    license="Apache-2.0",
    keywords=settings["keywords"],
    python_requires=">=" + settings["min_python"],
    packages=packages + ["gymenv_nb.data", "gymenv_nb.nbs"],
    package_dir={"gymenv_nb": "gymenv_nb", "gymenv_nb.data": "data", "gymenv_nb.nbs": "nbs"},
    package_data={"gymenv_nb": ["py.typed"], "gymenv_nb.data": ["**/*"], "gymenv_nb.nbs": ["envs/*.ipynb", "tutorials/*.ipynb", "04_reasoning_gym.ipynb"]},
    install_requires=lines("requirements"),
    extras_require={extra: lines(f"{extra}_requirements") for extra in ("dev", "train", "ray", "mcp", "reasoning", "docs", "browser")},
    entry_points={"console_scripts": lines("console_scripts"), "nbdev": ["gymenv_nb=gymenv_nb._modidx:d"]},
    classifiers=[
        "Development Status :: 3 - Alpha", "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
    ],
    zip_safe=False,
)
