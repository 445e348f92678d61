"""oarfuse: OARFocalFuseNet and 3D-MSF, taught and reproduced."""

__version__ = "0.1.0"
