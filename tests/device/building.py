"""Compiles the pretend accelerator once per torch, into the user's cache; says why where that cannot be done."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import torch

HERE = Path(__file__).parent
SOURCES = ("device.cpp", "ops.cpp")
FLAGS = ("-O0", "-fPIC", "-std=c++20", "-w")


class NoCompilerError(Exception):
    """The pretend accelerator cannot be compiled on this machine."""


def library() -> Path:
    """The compiled accelerator. Raises NoCompilerError, or RuntimeError where it does not fit this torch."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if sys.platform != "linux" or not compiler:
        raise NoCompilerError("the pretend accelerator needs Linux and a C++ compiler (g++)")
    folder = _folder()
    built = folder / f"pretend-{_key(compiler)}.so"
    with (folder / "pretend.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go of when this process ends, however it ends
        if not built.exists():
            _build(compiler, built)
    return built


def _folder() -> Path:
    """Where it is kept: among the user's caches, or for this run alone where nothing can be kept there."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "workbench-tests"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="workbench-tests-"))
    return folder


def _key(compiler: str) -> str:
    """Of all that the compiled library depends on."""
    parts = [torch.__version__, torch.__file__, compiler, sysconfig.get_platform(), *FLAGS]
    texts = [(HERE / name).read_text(encoding="utf-8") for name in ("pretend.h", *SOURCES)]
    return hashlib.sha256("\0".join([*parts, *texts]).encode()).hexdigest()[:16]


def _build(compiler: str, built: Path) -> None:
    torch_folder = Path(torch.__file__).parent
    abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"
    objects = [built.with_name(f"{built.stem}-{Path(name).stem}.o") for name in SOURCES]
    running = [
        subprocess.Popen(
            [compiler, *FLAGS, abi, f"-I{torch_folder / 'include'}", "-c", str(HERE / source), "-o", str(target)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for source, target in zip(SOURCES, objects, strict=True)
    ]
    said = [one.communicate()[1] for one in running]
    if any(one.returncode for one in running):
        raise RuntimeError(f"the pretend accelerator does not compile for torch {torch.__version__}: {''.join(said)}")
    new = built.with_suffix(".new")
    libraries = [f"-L{torch_folder / 'lib'}", "-lc10", "-ltorch_cpu"]
    subprocess.run([compiler, "-shared", *map(str, objects), *libraries, "-o", str(new)], check=True)
    new.replace(built)
    for one in objects:
        one.unlink()
