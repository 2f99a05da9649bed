#!/bin/sh
# Makes the secrets of compose.yaml, once: what is there already stays.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets

random() { head -c 32 /dev/urandom | base64 | tr -d '\n=+/'; }

for name in redis_password site_secret grafana_password; do
  [ -s "secrets/$name" ] || random >"secrets/$name"
done

# The one user of Redis may do what an edge does, under its own prefix, and nothing else.
rm -f secrets/redis.conf
cat >secrets/redis.conf <<CONF
port 6379
bind * -::*
protected-mode no
save ""
appendonly no
maxmemory 256mb
maxmemory-policy allkeys-lru
user default off
user pierhead on >$(cat secrets/redis_password) resetchannels ~pierhead:* &pierhead:site -@all +ping +info +getrange +set +del +multi +exec +incrby +pttl +publish +subscribe
CONF

# Containers read these as users of their own (65532 the edge, 999 Redis, 472 Grafana); on this host only their owner gets
# into the folder.
chmod 0700 secrets
chmod 0444 secrets/*
echo "secrets/ is ready; keep it out of version control"
