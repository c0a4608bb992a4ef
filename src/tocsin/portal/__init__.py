"""The portal: the browser's door. Its TypeScript source is `ui/`; here are its build and the serving of the built files."""

from tocsin.portal.files import PortalFiles

__all__ = ["PortalFiles"]
