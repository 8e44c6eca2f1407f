#!/bin/sh
# Use the secrets as their users will. Lines "problem: …" are faults.
# usage: try_secrets.sh SECRETS_DIR VIRTUAL_ADDRESS
cd "$1" || exit 2
vip=$2
problem() { echo "problem: $*"; }

for open in $(find . ! -user root -o -type d ! -perm 0700 -o -type f ! -name '*.pub' ! -perm 0600); do
    problem "others may read $open: $(stat -c '%U %a' "$open")"
done
for name in replication rewind app; do
    [ "$(wc -m <passwords/$name)" -ge 32 ] || problem "the password '$name' is short"
done
[ "$(cat passwords/* bootstrap-token | sort -u | wc -l)" = "$(cat passwords/* bootstrap-token | wc -l)" ] || problem "two secrets are the same"
[ "$(ssh-keygen -y -f ssh/id_ed25519 | cut -d' ' -f2)" = "$(cut -d' ' -f2 ssh/id_ed25519.pub)" ] || problem "the SSH keys are no pair"

# A node is who its certificate says, by its name and by both addresses, and by no other.
verify() { openssl verify -x509_strict -CAfile ca.crt "$@" >/dev/null 2>&1; }
for purpose in sslserver sslclient; do
    verify -purpose $purpose nodes/one.crt || problem "not good as $purpose: $(openssl verify -purpose $purpose -CAfile ca.crt nodes/one.crt 2>&1)"
done
verify -verify_hostname one nodes/one.crt || problem "the certificate does not name 'one'"
for address in 10.0.11.101 "$vip"; do
    verify -verify_ip "$address" nodes/one.crt || problem "the certificate does not name $address"
done
! verify -verify_hostname two nodes/one.crt || problem "one's certificate also names 'two'"
! verify -verify_ip 10.0.11.102 nodes/one.crt || problem "one's certificate also names two's address"
[ "$(openssl x509 -in nodes/one.crt -noout -pubkey)" = "$(openssl pkey -in nodes/one.key -pubout)" ] || problem "one's key is another's"

# Whoever takes a node's key cannot make further nodes with it.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
openssl req -x509 -CA nodes/one.crt -CAkey nodes/one.key -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=intruder \
    -days 1 -keyout "$scratch/key" -out "$scratch/crt" 2>/dev/null || problem "could not try a forged certificate"
! openssl verify -CAfile ca.crt -untrusted nodes/one.crt "$scratch/crt" >/dev/null 2>&1 || problem "a node's key signs certificates"
exit 0
