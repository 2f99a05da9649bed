import { fileURLToPath } from 'node:url';
import t from 'tap';
import { runProcess } from '../support/processes.ts';

const skip = process.getuid?.() === 0 ? false : 'a network namespace needs root';

void t.test('two hundred addresses of one IPv6 /64 are one client', { skip }, async (t) => {
  const inside =
    'ip link set lo up && ip -6 route add local 2001:db8::/32 dev lo && echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind && exec "$0" "$@"';
  const script = fileURLToPath(new URL('./one-network.ts', import.meta.url));
  const args = ['--net', 'sh', '-c', inside, process.execPath, script];
  const { code, stdout, stderr } = await runProcess('unshare', args, { timeoutMs: 90_000 });
  t.equal(code, 0, stderr);
  t.same(JSON.parse(stdout), { oneNetwork: 10, itsNeighbour: 1, ipv4: 15, refused: 190 });
});
