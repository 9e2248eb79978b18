# Runs a command where an sshd of its own answers on 127.0.0.1:2222, in namespaces that are gone with it: sh sandbox.sh
# FOLDER COMMAND …
#
# $C10K_FAR says what is wrong with the far end. The user's home is a folder of the test's, for ssh and sshd alike.
set -eu
home=$1
shift
far=$home/far
mkdir -p "$far/bin" "$home/tmp"
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/sshd
awk -F: -v OFS=: -v id="$(id -u)" -v home="$far" '$3 == id { $2 = "."; $6 = home; $7 = "/bin/sh" } { print }' /etc/passwd >"$home/passwd"
mount --bind "$home/passwd" /etc/passwd
# systemd's own source of users calls the user nobody locked.
printf '%s: files\n' passwd group shadow hosts >"$home/nsswitch.conf"
[ ! -e /etc/nsswitch.conf ] || mount --bind "$home/nsswitch.conf" /etc/nsswitch.conf
ip link set lo up

ssh-keygen -q -t ed25519 -N '' -f "$home/host_key"
ssh-keygen -q -t ed25519 -N '' -f "$home/user_key"
ssh-keygen -q -t ed25519 -N '' -f "$home/other_key"
cp "$home/user_key.pub" "$home/authorized_keys"
key=$home/host_key.pub identity=$home/user_key port=2222 forwarding=yes path=$far/bin:/usr/bin:/bin
case ${C10K_FAR-} in
  host-key-unknown) key=/dev/null ;;
  host-key-changed) key=$home/other_key.pub ;;
  denied) identity=$home/other_key ;;
  refused) port=2223 ;;
  no-forwarding) forwarding=no ;;
  no-program) path=/usr/bin:/bin ;;
esac
if [ "$path" != /usr/bin:/bin ]; then ln -sf "$C10K_PROGRAM" "$far/bin/c10k-lab"; fi
cut -d ' ' -f 1,2 "$key" | sed 's/^/[127.0.0.1]:2222 /' >"$home/known_hosts"
cat >"$home/sshd_config" <<TEXT
ListenAddress 127.0.0.1:2222
HostKey $home/host_key
AuthorizedKeysFile $home/authorized_keys
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile none
AllowTcpForwarding $forwarding
SetEnv PATH=$path
TEXT
cat >"$home/ssh_config" <<TEXT
Host far
  HostName 127.0.0.1
  Port $port
  User $(id -un)
  IdentityFile $identity
  IdentitiesOnly yes
  UserKnownHostsFile $home/known_hosts
  GlobalKnownHostsFile none
TEXT
/usr/sbin/sshd -D -e -f "$home/sshd_config" 2>"$home/sshd.log" &
tries=0
until grep -q ':08AE .* 0A ' /proc/net/tcp; do
  tries=$((tries + 1))
  [ $tries -lt 400 ] || { echo "no sshd: $(cat "$home/sshd.log")" >&2; exit 97; }
  sleep 0.05
done

# Where there is no ssh at all.
[ "${C10K_FAR-}" != no-ssh ] || { mkdir "$home/none"; ln -s /bin/sh "$home/none/sh"; PATH=$home/none; export PATH; }
export TMPDIR="$home/tmp"
code=0
"$@" || code=$?
PATH=/usr/bin:/bin:/usr/sbin:/sbin

serves() { cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ' | grep -q ' serve --listen '; }
tries=0
while serves; do
  tries=$((tries + 1))
  [ $tries -lt 400 ] || { echo "the far server is left" >&2; exit 98; }
  sleep 0.05
done
echo "the far end is empty" >&2
# A lab that was killed cannot remove its folder.
[ "$code" -gt 128 ] || [ -z "$(ls "$home/tmp")" ] || { echo "left in TMPDIR: $(ls "$home/tmp")" >&2; exit 98; }
exit "$code"
