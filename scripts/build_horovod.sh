#!/bin/sh
# Build Horovod's wheel against the torch that is installed, and install it (3-6 minutes).
#
# Usage: scripts/build_horovod.sh [PYTHON]      PYTHON: of the environment to install into
#
# Wheels are kept in ${XDG_CACHE_HOME:-~/.cache}/haplobench/horovod, a folder for each pair of
# Python and torch, so that a second environment costs seconds. Horovod's last release (2023)
# asks for C++14 or C++11, torch's headers need C++20: a wrapper of the compiler translates;
# nothing in Horovod's source is changed.
set -eu
python=${1:-.venv/bin/python}
version=0.28.1
command -v "$python" >/dev/null || { echo "horovod: no $python; run 'make test' first, or name a Python" >&2; exit 2; }
tag=$("$python" -c 'import sys, torch; print(f"cp{sys.version_info[0]}{sys.version_info[1]}-torch-{torch.__version__}")') ||
    { echo "horovod: $python has no torch; pip install 'haplobench[vae]' there first" >&2; exit 2; }
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/haplobench/horovod/$tag

if ! ls "$cache"/horovod-$version-*.whl >/dev/null 2>&1; then
    compiler=$(command -v "${CXX:-g++}") ||
        { echo "horovod: no C++ compiler; apt-get install g++ make, or set CXX" >&2; exit 2; }
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT INT TERM
    "$python" -m pip install --quiet setuptools wheel cmake ninja pyyaml cloudpickle psutil cffi packaging
    cat >"$work/c++20" <<WRAPPER
#!/usr/bin/env bash
arguments=()
for argument in "\$@"; do
    case "\$argument" in
        -std=c++14 | -std=gnu++14 | -std=c++11 | -std=gnu++11) argument=-std=c++20 ;;
    esac
    arguments+=("\$argument")
done
exec "$compiler" "\${arguments[@]}"
WRAPPER
    chmod +x "$work/c++20"
    mkdir -p "$cache"
    folder=$(dirname "$("$python" -c 'import sys; print(sys.executable)')")
    echo "horovod: building $version for $tag (log: $cache/build.log)"
    gpu=$("$python" -c 'import torch; print("NCCL" if torch.version.cuda and torch.cuda.is_available() else "")')
    if [ -n "$gpu" ] && command -v nvcc >/dev/null 2>&1; then
        export HOROVOD_GPU_OPERATIONS=NCCL
    fi
    PATH=$folder:$PATH CXX="$work/c++20" TMPDIR="$work" \
        HOROVOD_WITH_PYTORCH=1 HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_MXNET=1 \
        HOROVOD_WITHOUT_MPI=1 HOROVOD_WITH_GLOO=1 CMAKE_POLICY_VERSION_MINIMUM=3.5 \
        "$python" -m pip wheel --no-deps --no-build-isolation --no-binary horovod \
        --wheel-dir "$work/wheel" "horovod==$version" >"$cache/build.log" 2>&1 ||
        { tail -n 20 "$cache/build.log" >&2; echo "horovod: the build failed, see $cache/build.log" >&2; exit 1; }
    mv "$work"/wheel/horovod-$version-*.whl "$cache/"
fi
"$python" -m pip install --quiet --force-reinstall --no-deps "$cache"/horovod-$version-*.whl
"$python" -m pip install --quiet cloudpickle psutil pyyaml packaging
"$python" -c 'import horovod.torch as hvd; assert hvd.gloo_built()' &&
    echo "horovod: $version is installed ($cache)"
