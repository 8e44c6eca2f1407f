#!/bin/sh
# Make a virtual environment in RELEASE_DIR with the wheel that lies there.
# usage: install_release.sh RELEASE_DIR WHEEL [PIP_ARGUMENT…]
set -eu
release=$1 wheel=$2
shift 2
cd "$release"
python3 -m venv --clear --symlinks venv
# Bytecode is made when a module is first imported: most of the SDK never is. What the agent imports is imported
# below: compiled at the first start of a release, it would cost seconds of the lease that the last one left.
venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-cache-dir --no-compile \
    "$@" --constraint constraints.txt "./$wheel"
ln -sfn venv/bin bin
venv/bin/failoverctl --help >/dev/null
venv/bin/python - <<'IMPORT'
import botocore.session
import failover_agent.cli.daemon
import failover_agent.cli.doctor

for service in ("dynamodb", "ec2"):
    botocore.session.get_session().create_client(
        service, region_name="us-east-1", aws_access_key_id="-", aws_secret_access_key="-"
    )
IMPORT
sync -f .
touch .complete
# Releases that are neither this one nor the one in use are of no use to anybody.
in_use=$(readlink -f ../../current || true)
for other in ../*/; do
    other=$(readlink -f "$other")
    [ "$other" = "$release" ] || [ "$other" = "$in_use" ] || rm -rf "$other"
done
