# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Before anything of hsmpool can run: packages and a build. Sourced by tools/quickstart
# and test/run, in the root of the source.
#
#   install_packages PACKAGE...     those of them that are missing
#   build DIRECTORY OPTION...       meson and ninja, into DIRECTORY
#
# apt-get runs only if something is missing, as root or through sudo, without the
# recommended packages. A daemon that a package's scripts would start is kept from it
# by a policy-rc.d, put in place only where the machine has none, and gone afterwards;
# a service that came with it does not start with the machine either. PostgreSQL's
# scripts would make a cluster of databases too: a setting keeps them from it meanwhile.
# docs/dependencies.md says why each package is there.

# To build, and for the quick start.
packages=(
	gcc libc6-dev meson ninja-build pkg-config
	libssl-dev libp11-kit-dev libinih-dev libcsv-dev libzstd-dev libjson-c-dev libsystemd-dev
	libmicrohttpd-dev libcmocka-dev softhsm2 scdoc
)
# What the tests need beside them.
test_packages=(
	g++ mandoc openssl python3-cryptography python3-zstandard
	opensc libengine-pkcs11-openssl gnutls-bin openssh-client libnss3-tools nginx
	p11-kit p11-kit-modules postgresql prometheus prometheus-node-exporter
)

policy_file=/usr/sbin/policy-rc.d
policy_is_ours=
cluster_setting=/etc/postgresql-common/createcluster.d/hsmpool.conf
cluster_setting_is_ours=

missing_packages() {
	local package
	for package; do
		[ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
			printf '%s\n' "$package"
	done
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif ! command -v sudo >/dev/null; then
		printf 'Not root, and there is no sudo.\n' >&2
		return 1
	elif [ -t 0 ]; then
		sudo "$@"
	else
		sudo -n "$@"
	fi
}

# It forbids only as long as this process lives: even a kill leaves nothing behind that
# would keep the machine's services down. noclobber: never over an existing file.
forbid_daemons() {
	[ ! -e "$policy_file" ] || return 0
	as_root sh -c "set -C && printf '%s\n' '#!/bin/sh' \
		'# Of hsmpool: no daemon starts while its packages are installed.' \
		'[ ! -d /proc/$$ ] || exit 101' >$policy_file && chmod 755 $policy_file" || return
	policy_is_ours=yes
}

allow_daemons() {
	[ -n "$policy_is_ours" ] || return 0
	as_root rm -f "$policy_file"
	policy_is_ours=
}

# PostgreSQL is wanted as programs. Folders that this makes go again if nothing of the
# package came into them.
forbid_cluster() {
	case " $* " in
	*' postgresql '*) [ ! -e "$cluster_setting" ] || return 0 ;;
	*) return 0 ;;
	esac
	cluster_setting_is_ours=yes
	as_root sh -c "mkdir -p ${cluster_setting%/*} &&
		echo 'create_main_cluster = false' >$cluster_setting"
}

allow_cluster() {
	[ -n "$cluster_setting_is_ours" ] || return 0
	as_root rm -f "$cluster_setting"
	as_root rmdir -p --ignore-fail-on-non-empty "${cluster_setting%/*}"
	cluster_setting_is_ours=
}

clean_up() {
	allow_daemons
	allow_cluster
}

apt_install() {
	local apt=(env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
		apt-get -qq -o DPkg::Lock::Timeout=300)
	as_root "${apt[@]}" update </dev/null || printf 'apt-get update failed: going on with the lists at hand.\n' >&2
	as_root "${apt[@]}" install -y --no-install-recommends -o Dpkg::Use-Pty=0 "$@" </dev/null
}

# What their packages enable would start with the machine.
keep_services_off() {
	local service
	for service in nginx postgresql prometheus prometheus-node-exporter; do
		case " $* " in
		*" $service "*)
			! command -v systemctl >/dev/null ||
				as_root systemctl --quiet disable "$service" ;;
		esac
	done
}

install_packages() {
	local missing status=0
	if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
		printf 'Not a Debian system: needed are the likes of %s.\n' "$*"
		return 0
	fi
	mapfile -t missing < <(missing_packages "$@")
	if [ "${#missing[@]}" -eq 0 ]; then
		printf 'All there.\n'
		return 0
	fi
	printf 'Installing %s.\n' "${missing[*]}"
	trap clean_up EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	forbid_daemons && forbid_cluster "${missing[@]}" && apt_install "${missing[@]}" &&
		keep_services_off "${missing[@]}" || status=$?
	clean_up
	trap - EXIT HUP INT TERM
	if [ "$status" -ne 0 ]; then
		printf 'Could not install them. As root: apt-get install %s\n' "${missing[*]}" >&2
	fi
	return "$status"
}

say() {
	printf '\n== %s\n' "$*"
}

# On a terminal ninja keeps one line up to date; elsewhere it need not say anything.
build() {
	local directory=$1 again=() quiet=()
	shift
	[ ! -f "$directory/build.ninja" ] || again=(--reconfigure)
	[ -t 1 ] || quiet=(--quiet)
	say "build $directory"
	if ! meson setup "${again[@]}" "$@" "$directory" >"$directory.log" 2>&1; then
		cat "$directory.log"
		return 1
	fi
	rm -f "$directory.log"
	ninja -C "$directory" "${quiet[@]}"
}
