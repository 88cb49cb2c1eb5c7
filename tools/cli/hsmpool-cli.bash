# bash completion for hsmpool-cli(1)
# SPDX-License-Identifier: Apache-2.0
#
# Verbs and options are words of the tables below, so that nothing is run, and no HSM
# touched, by pressing a key. test/cli compares them with `hsmpool-cli help`.

_hsmpool_cli_verbs="dev keygen keys key encrypt decrypt inspect rewrap pseudonymize
	depseudonymize sign verify mac random wrap unwrap status pin audit top exporter doctor
	ctl config bench version help"

declare -A _hsmpool_cli_subverbs=(
	[dev]="init"
	[key]="show export import destroy"
	[pin]="status release"
	[audit]="verify status show"
	[config]="check"
)

_hsmpool_cli_global="--config --pool --json --timeout --verbose --help"

declare -A _hsmpool_cli_options=(
	["dev init"]="--dir --module"
	["keygen"]="--type --for --label --id --bits --curve --usage --extractable
		--always-authenticate"
	["keys"]=""
	["key show"]="--key"
	["key export"]="--key --out --force"
	["key import"]="--public --secret-file --secret-fd --type --format --label --id
		--usage --extractable --for"
	["key destroy"]="--key --yes"
	["encrypt"]="--key --in --out --force --mode --chunk-size --compress --threads
		--context --context-file --limit-rate"
	["decrypt"]="--key --in --out --force --max-size --max-ratio --threads --context
		--context-file --limit-rate"
	["inspect"]="--in"
	["rewrap"]="--add --remove --key --in --out --force --limit-rate"
	["pseudonymize"]="--column --key --in --out --force --allow-short-tokens --delimiter
		--no-header --bad-rows --rejects --threads --limit-rate"
	["depseudonymize"]="--column --key --in --out --force --delimiter --no-header
		--bad-rows --rejects --threads --limit-rate"
	["sign"]="--key --in --out --force --scheme --digest --raw --format"
	["verify"]="--key --in --signature --scheme --digest --raw --format"
	["mac"]="--key --in --out --force --scheme --verify --format"
	["random"]="--out --force --format"
	["wrap"]="--key --target --scheme --out --force --format"
	["unwrap"]="--key --scheme --in --format --type --label --id --usage --extractable
		--for"
	["status"]=""
	["pin status"]="--token --all"
	["pin release"]="--token --all"
	["audit verify"]="--head --no-key --public-key --strict"
	["audit status"]=""
	["audit show"]="--key --user --since --until --result --function"
	["top"]="--interval --once"
	["exporter"]="--listen"
	["doctor"]="--processes --key"
	["ctl"]="--pid --all"
	["config check"]=""
	["bench"]="--pairs --seconds --keep-keys"
	["version"]=""
)

_hsmpool_cli_commands="list status metrics pause resume validate reload log-level"

_hsmpool_cli_schemes="rsa-pkcs1-sha256 rsa-pkcs1-sha384 rsa-pkcs1-sha512 rsa-pss-sha256
	rsa-pss-sha384 rsa-pss-sha512 ecdsa-sha256 ecdsa-sha384 ecdsa-sha512 ed25519"
_hsmpool_cli_macs="hmac-sha1 hmac-sha224 hmac-sha256 hmac-sha384 hmac-sha512 aes-cmac"
_hsmpool_cli_wrappings="aes-kw aes-kwp rsa-oaep-sha1 rsa-oaep-sha256 rsa-oaep-sha384
	rsa-oaep-sha512 rsa-pkcs1"

# The values of an option; fails if it takes none that are known.
_hsmpool_cli_values()
{
	case $2 in
	--config | --in | --out | --signature | --public | --secret-file | --context-file | \
		--rejects | --module | --public-key)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--dir)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		return
		;;
	--user)
		mapfile -t COMPREPLY < <(compgen -u -- "$cur")
		return
		;;
	--type) words="aes generic rsa ec ed25519" ;;
	--curve) words="P-256 P-384 P-521" ;;
	--bits) words="128 192 256 2048 3072 4096" ;;
	--usage) words="encrypt decrypt sign verify wrap unwrap derive" ;;
	--for) words="$_hsmpool_cli_macs aes-gcm aes-kw aes-kwp rsa-oaep ecdh" ;;
	--bad-rows) words="fail skip" ;;
	--delimiter) words="tab" ;;
	--mode) words="envelope direct" ;;
	--compress) words="none zstd" ;;
	--format) words="raw hex base64" ;;
	--scheme)
		case $1 in
		mac) words=$_hsmpool_cli_macs ;;
		wrap | unwrap) words=$_hsmpool_cli_wrappings ;;
		*) words=$_hsmpool_cli_schemes ;;
		esac
		;;
	--key | --add | --remove | --target | --token | --pool | --timeout | --chunk-size | \
		--max-size | --max-ratio | --threads | --context | --label | --id | \
		--secret-fd | --processes | --pid | --verify | --column | --since | --until | --result | \
		--function | --listen | --interval)
		COMPREPLY=()
		return
		;;
	*) return 1 ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

# The verb that the words before the cursor name, "" if none is there yet.
_hsmpool_cli_find_verb()
{
	local i word

	verb=""
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
		--config | --pool | --timeout)
			[[ -z $verb ]] && ((i++))
			;;
		-*) ;;
		*)
			if [[ -z $verb ]]; then
				verb=$word
			elif [[ -n ${_hsmpool_cli_subverbs[$verb]} ]]; then
				verb="$verb $word"
				return
			else
				return
			fi
			;;
		esac
	done
}

_hsmpool_cli()
{
	local cur=${COMP_WORDS[COMP_CWORD]}
	local prev=${COMP_WORDS[COMP_CWORD - 1]}
	local verb words

	COMPREPLY=()
	_hsmpool_cli_find_verb
	if [[ $prev == --* ]] && _hsmpool_cli_values "$verb" "$prev"; then
		return
	fi
	if [[ $cur == -* ]]; then
		words="${_hsmpool_cli_options[${verb:-none}]} $_hsmpool_cli_global"
	elif [[ -z $verb || $verb == help ]]; then
		words=$_hsmpool_cli_verbs
	elif [[ $verb == ctl ]]; then
		words=$_hsmpool_cli_commands
	else
		words=${_hsmpool_cli_subverbs[$verb]}
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -o default -F _hsmpool_cli hsmpool-cli
