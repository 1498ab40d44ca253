# shellcheck shell=bash
# The package gyre of Python, for Launch/install, which has read setup.sh.

# require_python PYTHON: ends the script unless it can have packages installed.
require_python() {
  have "$1" ||
    refuse "--python names '$1', which is no command; give the path of a Python, 3.10 or newer."
  local obstacle
  obstacle=$(
    "$1" - <<'END'
import importlib.util, os, sys, sysconfig

version = ".".join(map(str, sys.version_info[:2]))
managed = os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
if sys.version_info < (3, 10):
    print(f"is Python {version}; give 3.10 or newer.")
elif sys.prefix == sys.base_prefix and os.path.exists(managed):
    print("belongs to the system, which installs its packages itself; make an environment with "
          "python3 -m venv ~/gyre, and give --python=$HOME/gyre/bin/python.")
elif importlib.util.find_spec("pip") is None:
    print("has no pip; make an environment with python3 -m venv, or install Debian's python3-pip.")
END
  ) || fail "'$1' is no Python that works; give the path of another."
  [[ -z $obstacle ]] || fail "'$1' $obstacle"
}

# dry_run_package PYTHON: prints where the package would be.
dry_run_package() {
  require_python "$1"
  "$1" -c 'import sysconfig; print(sysconfig.get_path("platlib") + "/gyre")'
}

# install_package PYTHON: builds libgyre and has pip install the package.
install_package() {
  require_python "$1"
  if [[ -z ${GYRE_LIBRARY-} ]]; then
    require_swift
    install_missing_packages
    printf '%s: building libgyre\n' "${me:?}" >&2
    build --product GyreC
    # shellcheck disable=SC2154  # set by setup.sh
    export GYRE_LIBRARY=$root/.build/release/libGyreC.so
  fi
  [[ -f $GYRE_LIBRARY ]] ||
    refuse "GYRE_LIBRARY names '$GYRE_LIBRARY', which is no file; build it or unset GYRE_LIBRARY."
  "$1" -m pip install --quiet --disable-pip-version-check "$root/Python" >&2 ||
    fail "pip has not installed the package; what it said is above."
  # With the library that is in it, and not the package of the folder in which somebody stands.
  (unset GYRE_LIBRARY && "$1" -c 'import sys; sys.path.pop(0); import gyre') ||
    fail "the package is installed and cannot be imported; what Python said is above."
  printf '%s: installed the package gyre for %s.\n' "$me" "$1" >&2
}

# uninstall_package PYTHON: has pip remove it.
uninstall_package() {
  require_python "$1"
  "$1" -m pip show --quiet gyre 2>/dev/null ||
    fail "'$1' has no package gyre; give the --python of the installation."
  "$1" -m pip uninstall --quiet --yes gyre >&2 || fail "pip has not removed it; what it said is above."
  printf '%s: removed the package gyre from %s.\n' "${me:?}" "$1" >&2
}
