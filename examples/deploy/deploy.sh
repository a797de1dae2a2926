#!/usr/bin/env bash
# Deploys a release while maintenance is on:
#
#     ./deploy.sh 42
#
# /srv/shop/releases/42 is the release, /srv/shop/current is a link to the one that runs, and
# /srv/shop/var, with the state, outlives them all. If a step fails, maintenance stays on, and the
# last lines say which step it was, and how to go on. A second start takes all steps again.
set -euo pipefail

shop=/srv/shop
site=https://shop.example/             # as visitors ask
check=http://127.0.0.1:8000/status     # an exempt path: the application itself answers

self=$(realpath "$0")
release=${1:?is missing: the release to deploy, for example 42}
cd "$shop/releases/$release" # if it is not there, nothing is changed

if [ "${2-}" != steps ]; then
    exec 9<"$shop/releases" # held until `run` ends
    flock --nonblock 9 || { echo 'deploy.sh: another deployment runs; wait for its end' >&2; exit 1; }

    # The steps begin when no earlier request runs, and when each visitor gets the page.
    exec "$shop/venv/bin/maintenance-wsgi" --dir "$shop/var" run \
        --until +20m --message 'We are back in a few minutes.' --drain 30 --verify "$site" \
        -- "$self" "$release" steps
fi

trap '[ $? = 0 ] || echo "deploy.sh: release $release: cannot $step" >&2' EXIT

step='migrate the database'
./migrate

step='switch to the release'
ln -sfn "releases/$release" "$shop/next"
mv -T "$shop/next" "$shop/current"

step='restart the application'
sudo systemctl restart shop

step='get a right answer from the application'
curl --fail --silent --show-error --retry 20 --retry-delay 1 --retry-all-errors \
    --output /dev/null "$check"
