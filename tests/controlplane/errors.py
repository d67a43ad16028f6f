"""What can go wrong when a control plane is built, started or stopped."""


class ControlPlaneError(Exception):
    """A part of the control plane did not do what it was asked to; the message names the log to read."""


class BinariesUnavailableError(ControlPlaneError):
    """This machine neither has the binaries nor the Go toolchain that builds them."""


class BuildError(ControlPlaneError):
    """The Go toolchain is here, and the build failed."""
