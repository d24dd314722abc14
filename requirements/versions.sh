#!/bin/sh
# Every test on another Python, at the lower or the upper bounds of pyproject.toml:
#   requirements/versions.sh PYTHON lower|upper TORCH      (make test-python)
# torch is given apart: where no CPU build of it lies at hand, the index serves a CUDA build with
# several gigabytes of libraries on Linux. PYTEST_ARGS replaces what pytest is told.
set -eu
python=$1 bounds=$2 torch=$3
case $bounds in
  lower) resolution=lowest-direct ;;
  upper) resolution=highest ;;
  *) echo "BOUNDS is lower or upper, not $bounds" >&2; exit 2 ;;
esac
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
place=.venv-$version-$bounds
[ -x "$place/bin/python" ] || "$python" -m venv "$place"
"$place/bin/pip" install --quiet uv
"$place/bin/python" requirements/wanted.py |
  "$place/bin/uv" pip compile - --resolution $resolution --python-version "$version" \
    --only-binary :all: --no-header --no-annotate --quiet -o "$place/resolved.txt"
# torch first, with what it needs as it needs it; then what pyproject.toml asks for, as it is.
"$place/bin/pip" install --quiet "$torch"
"$place/bin/uv" pip install --quiet --python "$place/bin/python" --no-deps -r "$place/resolved.txt"
"$place/bin/pip" install --quiet --no-deps --no-build-isolation -e .
exec "$place/bin/pytest" -q ${PYTEST_ARGS:--n 2 --dist worksteal}
