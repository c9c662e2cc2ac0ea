#!/bin/sh
# Installs the Debian or Ubuntu packages that Striate needs; the one list of them. What is there already is left alone.
#   tools/install_packages.sh            to build and run the tools
#   tools/install_packages.sh --tests    also to build and run the tests and benchmarks
#   tools/install_packages.sh --ci       also to check the formatting, to build several times over and to try the report in a browser
set -eu

packages="
  g++ cmake ninja-build
  libfmt-dev libhwy-dev libboost-context-dev libspdlog-dev nlohmann-json3-dev libyaml-cpp-dev libcli11-dev
  libprotobuf-dev protobuf-compiler zlib1g-dev libarchive-dev libhdf5-dev libjpeg-dev libstb-dev libeigen3-dev
  gnuplot-nox fonts-dejavu-core dataset-fashion-mnist"
test_packages="libgtest-dev libbenchmark-dev libopenmpi-dev openmpi-bin"
ci_packages="clang clang-format libclang-rt-dev ccache chromium"

for argument in "$@"; do
  case "$argument" in
    --tests) packages="$packages $test_packages" ;;
    --ci) packages="$packages $test_packages $ci_packages" ;;
    -h | --help)
      sed -n '2,5s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *)
      echo "install_packages.sh: unknown option '$argument' (--tests and --ci exist)" >&2
      exit 2
      ;;
  esac
done

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  {
    echo "install_packages.sh: this system has no apt-get; the list is one of Debian's and Ubuntu's packages."
    echo "Install what they hold with your own package manager, then run cmake --preset host:"
    echo $packages
  } >&2
  exit 1
fi

# Prints those of its arguments that are not installed.
missing_of() {
  for package in "$@"; do
    if [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
      printf '%s ' "$package"
    fi
  done
}

missing=$(missing_of $packages)
if [ -z "$missing" ]; then
  exit 0
fi

as_root=""
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "install_packages.sh: these packages are missing, and only root can install them (there is no sudo):" >&2
    echo "  apt-get install $missing" >&2
    exit 1
  fi
  as_root=sudo
fi

apt() {
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 "$@" </dev/null
}

# True where the package lists know every one of its arguments.
known() {
  for package in "$@"; do
    candidate=$(LC_ALL=C apt-cache policy "$package" 2>/dev/null | sed -n 's/^ *Candidate: //p')
    if [ -z "$candidate" ] || [ "$candidate" = "(none)" ]; then
      return 1
    fi
  done
}

echo "Installing: $missing"
updated=no
if ! known $missing; then
  apt update
  updated=yes
  if ! known $missing; then
    for package in $missing; do
      known "$package" || echo "install_packages.sh: no package '$package' in this system's sources" >&2
    done
    exit 1
  fi
fi
if ! apt install --no-install-recommends $missing; then
  # Old lists point at versions that the mirror no longer has.
  if [ "$updated" = yes ]; then
    exit 1
  fi
  apt update
  apt install --no-install-recommends $missing
fi
