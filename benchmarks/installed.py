"""Version, licence and size of an installed package, as JSON.

A script that needs the standard library only, so that any environment's Python runs it:
python benchmarks/installed.py PACKAGE [MORE PACKAGES THAT IT IS USED WITH ...]
"""

from __future__ import annotations

import json
import re
import sys
from importlib import metadata
from pathlib import Path


def size_bytes(distribution: metadata.Distribution) -> int:
    """The size of a package's own files."""
    paths = [Path(str(file.locate())) for file in distribution.files or []]
    return sum(path.stat().st_size for path in paths if path.exists())


def main() -> None:
    """Print the first package's facts, and its size with everything it requires here."""
    sizes: dict[str, int] = {}
    names = sys.argv[1:]
    while names:
        name = re.sub(r"[-_.]+", "-", names.pop()).lower()
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # a requirement of other platforms
        if name not in sizes:
            sizes[name] = size_bytes(distribution)
            names += [re.split(r"[^\w.-]", line)[0] for line in distribution.requires or [] if "extra ==" not in line]
    first = metadata.distribution(sys.argv[1])
    licences = first.metadata.get_all("License") or ["?"]
    classifiers = [text.split(" :: ")[-1] for text in first.metadata.get_all("Classifier") or [] if text.startswith("License")]
    facts = {
        "version": first.version,
        "licence": next(iter(classifiers), licences[0]),
        "installed_mb": round(size_bytes(first) / 1e6, 1),
        "installed_with_requirements_mb": round(sum(sizes.values()) / 1e6, 1),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
