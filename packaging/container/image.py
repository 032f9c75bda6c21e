#!/usr/bin/env python3
"""image.py ROOT ARCHIVE: packs what an image holds, with CAP_NET_RAW on the program; needs no right for it.

The capability is permitted, not effective: where the runtime withholds it the program still starts, and says what is
missing. It travels as the extended attribute that the kernel reads (struct vfs_cap_data, revision 2), which builders of
images put onto the file.
"""
import os
import struct
import sys
import tarfile

PROGRAM = "usr/bin/sidetone"
CAP_NET_RAW = 13
REVISION_2 = 0x02000000
CAPABILITY = struct.pack("<5I", REVISION_2, 1 << CAP_NET_RAW, 0, 0, 0)


def owned_by_root(entry):
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = "root"
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    if entry.name == PROGRAM:
        entry.pax_headers["SCHILY.xattr.security.capability"] = CAPABILITY.decode("ascii")
    return entry


root, archive = sys.argv[1:]
with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
    for name in sorted(os.listdir(root)):
        tar.add(os.path.join(root, name), name, filter=owned_by_root)
