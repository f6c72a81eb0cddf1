"""Prints the oldest Python that pyproject.toml allows, then what the package and its tests require at its lower bound."""

import re
import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]


def requirements(names):
    for name in names:
        own = re.fullmatch(rf"{project['name']}\[(.+)\]", name)
        if own is None:
            yield name
            continue
        for extra in own[1].split(","):
            yield from requirements(project["optional-dependencies"][extra])


bounds = [
    project["requires-python"],
    *dict.fromkeys(requirements([*project["dependencies"], f"{project['name']}[test]"])),
]
for bound in bounds:
    if not re.fullmatch(r"[^<>=!~;]*>=[\d.]+", bound):
        sys.exit(f"{bound!r} in {sys.argv[1]} has no lower bound alone, such as 'numpy>=1.26'.")
print(bounds[0].removeprefix(">="))
for bound in bounds[1:]:
    print(bound.replace(">=", "=="))
