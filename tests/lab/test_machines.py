"""Hosts boot, die, freeze and come back, on the real kernel.

lab namespace ── veth 10.99.0.1 ◀──▶ 10.99.0.10 ── host db1 with one data volume
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ec2_lab import enter, image
from ec2_lab.errors import NoSuchHost
from ec2_lab.hosts import Hosts, sweep
from ec2_lab.hosts.cgroups import lab_cgroup
from ec2_lab.hosts.disks import VolumeBusy, VolumeHangs, VolumeNotMounted
from ec2_lab.hosts.machines import device_node
from ec2_lab.model import HostSpec, LabPaths, Power, Volume

pytestmark = pytest.mark.lab

PATHS = LabPaths(f"machines{os.getpid()}")
VOLUME = Volume("vol-0123456789abcdef0", size_gib=1, device="/dev/sdf")
NODE = device_node(VOLUME.volume_id)
SPEC = HostSpec(
    instance_id="i-0123456789abcdef0",
    name="db1",
    az="eu-central-1a",
    private_ip="10.99.0.10",
    prefix_length=24,
    gateway="10.99.0.1",
    mac="",
    authorized_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB2v0Jr0m1VnFZ3Vd0m0eXo0pCk5eWkq0uQbQ2l8mXyZ test",
    volumes=(VOLUME,),
)
MOUNTED = f"mountpoint -q /data || mount {NODE} /data"
ID = SPEC.instance_id
NETNS = PATHS.host_netns(ID)
OTHER = replace(
    SPEC,
    instance_id="i-00000000000000bad",
    name="other",
    volumes=(replace(VOLUME, volume_id="vol-00000000000000bad"),),
)
BACKWARDS = """
import socket
server = socket.create_server(("", 7))
open("/run/listening", "w").close()
client, _ = server.accept()
got = b""
while data := client.recv(65536):
    got += data
client.sendall(got[::-1])
"""
PROGRAM = "import sys; from ec2_lab import enter, model; {}"
BOOT_S = 90.0
# Generous: the machine may be busy. Idle, sshd answers half a second after the boot began.
SSH_WITHIN_S = 60.0


def ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=not check)


@pytest.fixture(scope="module")
def network() -> Iterator[None]:
    ip("netns", "add", PATHS.router_netns)
    ip("netns", "add", NETNS)
    ip("-n", PATHS.router_netns, "link", "add", "v0", "type", "veth", "peer", "name", "ens5", "netns", NETNS)
    ip("-n", PATHS.router_netns, "address", "add", "10.99.0.1/24", "dev", "v0")
    ip("-n", NETNS, "address", "add", "10.99.0.10/24", "dev", "ens5")
    for namespace, link in ((PATHS.router_netns, "v0"), (NETNS, "ens5"), (NETNS, "lo")):
        ip("-n", namespace, "link", "set", link, "up")
    yield
    ip("netns", "delete", NETNS, check=False)
    ip("netns", "delete", PATHS.router_netns, check=False)


@pytest.fixture(scope="module")
def hosts(network: None) -> Iterator[Hosts]:
    made = Hosts(PATHS, image.build(print))
    yield made
    sweep(PATHS)


@pytest.fixture
def host(hosts: Hosts) -> Iterator[Hosts]:
    """db1, fully booted, with an ext4 on its data volume at /data."""
    hosts.boot(SPEC, NETNS)
    wait_until_booted()
    assert shell(f"blkid {NODE} >/dev/null || mkfs.ext4 -q {NODE}; mkdir -p /data; {MOUNTED}") == 0
    yield hosts
    hosts.resume(ID) if hosts.power(ID) is Power.PAUSED else None
    with contextlib.suppress(VolumeNotMounted):
        hosts.free_disk(ID)  # or a failed test would hang all that follow


def shell(script: str) -> int:
    return enter.run_in(PATHS, "db1", ["bash", "-ec", script])


def said(script: str) -> str:
    """Standard output of a script in the host, asked as a user would: through a process of its own."""
    program = "sys.exit(enter.run_in(model.LabPaths(sys.argv[1]), 'db1', ['bash', '-ec', sys.argv[2]]))"
    return python(program, PATHS.name, script).stdout.decode().strip()


def python(program: str, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    argv = [sys.executable, "-c", PROGRAM.format(program), *words]
    return subprocess.run(argv, check=True, input=stdin, stdout=subprocess.PIPE, timeout=BOOT_S)


def wait_until_booted() -> None:
    # `--wait` needs the bus, which is not there in the first instants.
    script = "until systemctl is-system-running --wait; do read -t 0.1 < <(:) || :; done"
    assert shell(f"timeout {BOOT_S:g} bash -c '{script}' >/dev/null 2>&1") == 0


def test_a_new_host_answers_ssh_and_looks_like_a_cloud_image(host: Hosts) -> None:
    assert said("systemctl is-system-running") == "running"
    assert said("hostname") == "ip-10-99-0-10"
    assert said("cat /home/admin/.ssh/authorized_keys") == SPEC.authorized_key
    assert said("sudo -u admin sudo -n id -u") == "0"
    assert said("ls /etc/ssh/ssh_host_*_key") == "/etc/ssh/ssh_host_ed25519_key"
    assert len(said("cat /etc/machine-id")) == 32


def test_sshd_answers_soon_after_the_boot_began(host: Hosts) -> None:
    host.crash(ID)
    began = time.monotonic()

    host.boot(SPEC, NETNS)

    assert ssh_greeting(began + SSH_WITHIN_S).startswith(b"SSH-2.0")
    print(f"sshd answered {time.monotonic() - began:.2f} s after the boot began")


def test_a_command_in_a_host_gives_its_own_exit_status(host: Hosts) -> None:
    assert shell("exit 7") == 7
    assert shell("kill -TERM $$") == 128 + 15
    assert enter.run_in(PATHS, SPEC.private_ip, ["no-such-program"]) == 127
    with pytest.raises(NoSuchHost):
        enter.run_in(PATHS, "db9", ["true"])


@pytest.mark.parametrize("folder", ["/data", "/root"])
def test_a_crash_keeps_what_was_synced_and_loses_what_was_not(host: Hosts, folder: str) -> None:
    shell(f"cd {folder}; echo old > kept; sync -f kept; echo new > lost; echo newer > kept")

    host.crash(ID)
    assert host.power(ID) is Power.OFF
    host.boot(SPEC, NETNS)
    wait_until_booted()

    shell(MOUNTED)
    assert said(f"cd {folder}; cat kept; ls lost 2>/dev/null || echo gone") == "old\ngone"


def test_a_crash_frees_a_host_whose_disk_hangs(host: Hosts) -> None:
    shell("fsfreeze --freeze /data; (echo stuck > /data/stuck) & true")

    host.crash(ID)

    assert host.power(ID) is Power.OFF
    assert not lab_cgroup(PATHS).joinpath(ID).exists()


def test_a_hung_disk_holds_its_writers_until_it_is_freed(host: Hosts) -> None:
    host.hang_disk(ID)
    host.hang_disk(ID)
    writing = "rm -f /run/wrote; (echo stuck > /data/stuck && touch /run/wrote) >/dev/null 2>&1 &"
    stuck = "pid=$!; until grep -qs '^State:.D' /proc/$pid/status; do read -t 0.05 < <(:) || :; done"
    assert shell(f"{writing} {stuck}") == 0
    assert said("ls /run/wrote 2>/dev/null || echo waiting") == "waiting"
    with pytest.raises(VolumeHangs):
        host.fill_disk(ID)

    host.free_disk(ID)
    host.free_disk(ID)

    wait_for_file(host, "/run/wrote")


def test_a_full_disk_has_no_room_until_it_is_emptied(host: Hosts) -> None:
    shell("echo before > /data/before; sync -f /data/before")
    host.fill_disk(ID)
    host.fill_disk(ID)
    assert said("head -c 8192 /dev/zero 2>/dev/null > /data/more || echo full") == "full"
    assert said("cat /data/before") == "before"

    host.crash(ID)
    host.boot(SPEC, NETNS)
    wait_until_booted()
    shell(f"mkdir -p /data; {MOUNTED}")
    assert said("head -c 8192 /dev/zero 2>/dev/null > /data/more || echo full") == "full"

    host.empty_disk(ID)
    host.empty_disk(ID)
    assert shell("head -c 1000000 /dev/zero > /data/more; rm /data/more") == 0


def test_a_disk_fault_needs_a_mounted_volume(host: Hosts) -> None:
    shell("umount /data")

    with pytest.raises(VolumeNotMounted):
        host.hang_disk(ID)


def test_a_command_running_in_a_host_dies_with_it(host: Hosts) -> None:
    status: list[int] = []
    running = threading.Thread(
        target=lambda: status.append(shell("touch /run/started; exec tail -f /dev/null"))
    )
    running.start()
    wait_for_file(host, "/run/started")

    host.crash(ID)

    running.join(BOOT_S)
    assert status == [137]


def test_a_paused_host_is_silent_and_goes_on_when_resumed(host: Hosts) -> None:
    host.pause(ID)
    assert host.power(ID) is Power.PAUSED
    assert ssh_greeting(time.monotonic() + 1.0) == b""

    host.resume(ID)

    assert host.power(ID) is Power.RUNNING
    assert ssh_greeting(time.monotonic() + SSH_WITHIN_S).startswith(b"SSH-2.0")


def test_a_reboot_from_inside_keeps_disk_and_identity(host: Hosts) -> None:
    before = said(
        "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub; echo kept > /root/kept; cat /root/kept"
    )
    old_init = host.leader_pid(ID)

    shell("systemctl reboot")
    wait_for(lambda: host.leader_pid(ID) not in (None, old_init))

    wait_until_booted()
    assert said("cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub /root/kept") == before


def test_shutting_down_writes_everything_out(host: Hosts) -> None:
    shell("echo written > /data/at-the-end")

    host.shut_down(ID, timeout_s=BOOT_S)
    assert host.power(ID) is Power.OFF
    assert host.leader_pid(ID) is None
    host.boot(SPEC, NETNS)
    wait_until_booted()

    assert shell(MOUNTED) == 0
    assert said("cat /data/at-the-end") == "written"


def test_an_entry_in_fstab_is_mounted_at_boot(host: Hosts) -> None:
    shell(f"echo {NODE} /data ext4 nofail 0 2 >> /etc/fstab; sync -f /etc/fstab")

    host.crash(ID)
    host.boot(SPEC, NETNS)
    wait_until_booted()

    assert said("findmnt --noheadings --output SOURCE /data") == NODE
    shell("sed -i /data/d /etc/fstab; systemctl daemon-reload")


def test_a_volume_comes_and_goes_while_the_host_runs(host: Hosts) -> None:
    second = Volume("vol-0000000000000002a", size_gib=2, device="/dev/sdg")
    node = device_node(second.volume_id)

    host.attach_volume(ID, second)
    assert said(f"blockdev --getsize64 {node}") == str(2 << 30)
    shell(f"mkfs.ext4 -q {node}; mount {node} /mnt")
    with pytest.raises(VolumeBusy):
        host.detach_volume(ID, second.volume_id)
    shell("umount /mnt")
    host.detach_volume(ID, second.volume_id)

    assert shell(f"test ! -e {node}") == 0
    host.delete_volume(second.volume_id)


def test_kernel_settings_of_one_host_stay_its_own(host: Hosts) -> None:
    before = Path("/proc/sys/vm/swappiness").read_text()

    assert shell("sysctl -q -w vm.swappiness=7 net.ipv4.ip_forward=1") == 0

    assert said("sysctl -n vm.swappiness") == "7"
    assert Path("/proc/sys/vm/swappiness").read_text() == before


def test_a_tunnel_carries_both_directions_and_closes_them_one_by_one(host: Hosts) -> None:
    shell(f"cat > /run/server.py <<'END'\n{BACKWARDS}\nEND\nsystemd-run --quiet python3 /run/server.py")
    wait_for_file(host, "/run/listening")
    sent = bytes(range(256)) * 4000

    got = python("enter.tunnel(model.LabPaths(sys.argv[1]), 'db1', 7)", PATHS.name, stdin=sent)

    assert got.stdout == sent[::-1]


def test_a_tunnel_into_a_host_that_says_no_word_more_ends(host: Hosts) -> None:
    """As after a power loss, or after `ec2-lab down` under a connection that ssh has kept."""
    shell(f"cat > /run/server.py <<'END'\n{BACKWARDS}\nEND\nsystemd-run --quiet python3 /run/server.py")
    wait_for_file(host, "/run/listening")
    sooner = "enter.KEEPALIVE = tuple((option, 1) for option, _ in enter.KEEPALIVE)"
    code = f"{sooner}; enter.tunnel(model.LabPaths(sys.argv[1]), 'db1', 7)"
    argv = [sys.executable, "-c", PROGRAM.format(code), PATHS.name]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as tunnel:
        try:
            accepted = "ss --no-header --tcp state established '( sport = 7 )' | grep -q ."
            wait_for(lambda: shell(accepted) == 0)
            ip("-n", NETNS, "link", "set", "ens5", "down")
            assert tunnel.wait(BOOT_S) == 0
        finally:
            tunnel.kill()
            ip("-n", NETNS, "link", "set", "ens5", "up")


def test_sweep_removes_what_a_killed_owner_left(host: Hosts) -> None:
    other = LabPaths(PATHS.name + "b")
    killed = os.fork()
    if killed == 0:
        Hosts(other, image.build(print)).boot(OTHER, NETNS)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(killed, 0)
    assert lab_cgroup(other).is_dir()

    sweep(other)
    sweep(other)

    assert not lab_cgroup(other).exists()
    assert not other.disks.exists()
    listed = subprocess.run(
        ["losetup", "--list", "--noheadings", "-O", "BACK-FILE"], capture_output=True, text=True
    )
    assert str(other.disks) not in listed.stdout
    assert host.power(ID) is Power.RUNNING, "another lab's host is none of its business"


def ssh_greeting(deadline: float) -> bytes:
    """What port 22 says first, asked again until the deadline (monotonic) while it refuses."""
    while (left_s := deadline - time.monotonic()) > 0:
        greeting: list[bytes] = []
        asking = threading.Thread(target=lambda found=greeting, left=left_s: found.append(ask_ssh(left)))
        asking.start()  # in a thread of its own, which alone enters the namespace
        asking.join()
        if greeting[0]:
            return greeting[0]
    return b""


def ask_ssh(timeout_s: float) -> bytes:
    with Path(f"/run/netns/{PATHS.router_netns}").open("rb") as namespace:
        enter._setns(namespace.fileno(), enter.CLONE_NEWNET)
    try:
        with socket.create_connection((SPEC.private_ip, 22), timeout=timeout_s) as connection:
            return connection.recv(64)
    except OSError:
        return b""


def wait_for_file(host: Hosts, path: str) -> None:
    wait_for(lambda: Path(f"/proc/{host.leader_pid(ID)}/root{path}").exists())


def wait_for(condition: Callable[[], bool], within_s: float = BOOT_S) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
