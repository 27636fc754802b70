# SPDX-License-Identifier: MIT
#
# Sourced by examples/demo.sh and tests/run.sh, in the project's root: finds out what is missing on this machine and, on
# Debian 12 and its like, installs it. It looks for the things themselves (a command, a header, an R package), not for
# packages, so anybody's way of installing them will do.
#
#   need GROUP...   build | r | tests: makes sure that all of the groups is there, or says what is missing and exits
#   configure_in DIR [MESON OPTION...]   configures DIR if that is not done, or as the options say
#   build_in DIR [MESON OPTION...]       likewise, and compiles

# One line per thing: group, kind, name, Debian package.
things() {
	cat <<-'END'
		build command meson meson
		build command ninja ninja-build
		build command cc gcc
		build header stdlib.h libc6-dev
		build command pkg-config pkg-config
		build library libunwind libunwind-dev
		build library libdw libdw-dev
		build library jansson libjansson-dev
		build header uthash.h uthash-dev
		build library libelf libelf-dev
		build header libiberty/demangle.h libiberty-dev
		r command Rscript r-base-core
		r library libR r-base-core
		r rpackage future r-cran-future
		tests command c++ g++
		tests command jq jq
		tests command valgrind valgrind
		tests file /usr/lib/debug/.build-id libc6-dbg
		tests library cmocka libcmocka-dev
		tests runtime libjemalloc.so.2 libjemalloc2
		tests runtime libtcmalloc.so.4 libgoogle-perftools4
		tests runtime libtcmalloc_minimal.so.4 libtcmalloc-minimal4
		tests runtime libmimalloc.so.2 libmimalloc2.0
		tests command musl-gcc musl-tools
		tests rpackage callr r-cran-callr
		tests rpackage Rcpp r-cran-rcpp
		tests rpackage data.table r-cran-data.table
		tests rpackage stringi r-cran-stringi
		tests rpackage xml2 r-cran-xml2
		tests rpackage curl r-cran-curl
		tests rpackage openssl r-cran-openssl
	END
}

# Is the thing there? usage: has KIND NAME
has() {
	case $1 in
	command) command -v "$2" ;;
	library) command -v pkg-config && pkg-config --exists "$2" ;;
	runtime) PATH=$PATH:/sbin:/usr/sbin ldconfig -p | grep -q "^[[:space:]]*$2 " ;;
	header) command -v cc && echo "#include <$2>" | cc -E -xc - ;;
	rpackage) command -v Rscript && Rscript --vanilla -e "quit(status = !requireNamespace('$2', quietly = TRUE))" ;;
	file) [ -e "$2" ] ;;
	esac >/dev/null 2>&1
}

# The Debian packages of what is missing from the groups, one a line.
missing() {
	things | while read -r group kind name package; do
		case " $* " in *" $group "*) has "$kind" "$name" || echo "$package" ;; esac
	done | sort -u
}

need() {
	packages=$(missing "$@" | tr '\n' ' ')
	[ -n "$packages" ] || return 0
	if ! command -v apt-get >/dev/null; then
		echo "$0: missing on this machine, by the names of their Debian 12 packages: $packages" >&2
		echo "$0: no apt-get here: please install them by hand and start again" >&2
		exit 1
	fi
	as_root=
	if [ "$(id -u)" -ne 0 ]; then
		as_root=sudo
		if ! command -v sudo >/dev/null; then
			echo "$0: not root, and there is no sudo; as root: apt-get install $packages" >&2
			exit 1
		fi
	fi
	echo "installing $packages" >&2
	export DEBIAN_FRONTEND=noninteractive
	log=$(mktemp)
	# shellcheck disable=SC2086 # a list of words
	if ! { $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y --no-install-recommends $packages; } >"$log" 2>&1 </dev/null; then
		tail -n 20 "$log" >&2
		rm -f "$log"
		echo "$0: installing failed; needed: $packages" >&2
		exit 1
	fi
	rm -f "$log"
	packages=$(missing "$@" | tr '\n' ' ')
	if [ -n "$packages" ]; then
		echo "$0: still missing, though installed: $packages" >&2
		exit 1
	fi
}

configure_in() {
	build_dir=$1
	shift
	if [ ! -e "$build_dir/build.ninja" ]; then
		meson setup "$build_dir" "$@" || exit 1
	elif [ $# -gt 0 ]; then
		meson setup --reconfigure "$build_dir" "$@" || exit 1
	fi
}
build_in() {
	configure_in "$@"
	ninja -C "$1" || exit 1
}
