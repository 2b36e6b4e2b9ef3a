#!/usr/bin/env python3
"""Makes container images of one binary, without a registry or a container runtime.

    image.py OUT.tar BINARY TAG=JSON...      JSON: the entrypoint, e.g. ["/app", "--port", "80"]

The archive is docker-archive (`ctr images import`): one layer that all tags share, with the binary as /NAME
and the shared libraries that ldd names. A static binary has none. Nothing in it depends on the time.
"""
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile

PASSWD = b"root:x:0:0:root:/:/none\nnobody:x:65534:65534:nobody:/:/none\n"


def add(archive, path, content, mode=0o644):
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))


def read(path):
    with open(path, "rb") as file:
        return file.read()


def libraries(binary):
    """The absolute paths in ldd's answer: `libc.so.6 => /lib/… (0x…)` and `/lib64/ld-… (0x…)`."""
    answer = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False).stdout
    return [word for word in answer.split() if word.startswith("/")]


def layer(binary):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        tmp = tarfile.TarInfo("tmp")
        tmp.type, tmp.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(tmp)
        add(archive, "etc/passwd", PASSWD)
        add(archive, os.path.basename(binary), read(binary), 0o755)
        for library in libraries(binary):
            add(archive, library, read(library), 0o755)
    return buffer.getvalue()


def config(entrypoint, digest):
    return json.dumps({
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": {"Entrypoint": entrypoint, "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest]},
    }).encode()


def main(out, binary, *tags):
    content = layer(binary)
    digest = hashlib.sha256(content).hexdigest()
    manifest = []
    with tarfile.open(out, "w", format=tarfile.USTAR_FORMAT) as archive:
        add(archive, digest + ".tar", content)
        for tag, entrypoint in (tag.split("=", 1) for tag in tags):
            image = config(json.loads(entrypoint), digest)
            name = hashlib.sha256(image).hexdigest() + ".json"
            add(archive, name, image)
            manifest.append({"Config": name, "RepoTags": [tag], "Layers": [digest + ".tar"]})
        add(archive, "manifest.json", json.dumps(manifest).encode())


main(*sys.argv[1:])
