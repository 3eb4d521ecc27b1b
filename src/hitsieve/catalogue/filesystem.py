"""Whether a file lies on this computer's own disks."""

from __future__ import annotations

from pathlib import Path

_NETWORK = (
    "nfs",
    "cifs",
    "smb",
    "afs",
    "gpfs",
    "lustre",
    "beegfs",
    "ceph",
    "glusterfs",
    "pvfs",
    "panfs",
    "9p",
    "fuse.",
)


def is_on_network(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Whether the file system of a path is, or may be, shared by several computers; True where it cannot be told."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
        place = path.resolve()
    except OSError:
        return True
    best, kind = Path(), ""
    for line in lines:
        # ... mount point ... - type source options
        left, _, right = line.partition(" - ")
        words = left.split()
        point = Path(words[4].encode().decode("unicode_escape")) if len(words) > 4 else None
        if point is not None and (point == place or point in place.parents) and len(point.parts) >= len(best.parts):
            best, kind = point, right.split()[0] if right else ""
    return not kind or kind.startswith(_NETWORK)
