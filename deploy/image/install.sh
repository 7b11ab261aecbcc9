#!/bin/sh
# Installs the program with everything pinned into a virtual environment of its own: install.sh SOURCE PREFIX
# REQUIREMENTS=otel takes the extra for traces along.
# The image is made with it; the tests run it too, because what needs no container engine can be proved without one.
set -eu
source=$1 prefix=$2
python=${PYTHON:-python3}

export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR="${PIP_NO_CACHE_DIR:-1}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The builder gets an environment of its own, so that nothing of it is left in the program's.
"$python" -m venv "$work/builder"
pip=$work/builder/bin/pip
"$pip" install --quiet --require-hashes --requirement "$source/requirements/build.txt"
"$pip" wheel --quiet --no-deps --no-build-isolation --wheel-dir "$work/wheel" "$source"

# No pip in it: nothing can be installed into the finished image by the means it has itself.
"$python" -m venv --without-pip "$prefix"
"$pip" --python "$prefix/bin/python" install --quiet --no-compile --only-binary :all: --require-hashes \
    --requirement "$source/requirements/${REQUIREMENTS:-runtime}.txt"
# By name and not by path: pip would note where the wheel lay, which is another folder at every build.
"$pip" --python "$prefix/bin/python" install --quiet --no-compile --no-deps --no-index --find-links "$work/wheel" \
    neuroon-consumer
# By hash and not by time: the same files come out of the same sources, and a read-only root starts as fast.
"$prefix/bin/python" -m compileall -q --invalidation-mode unchecked-hash "$prefix/lib"
