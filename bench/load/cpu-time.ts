import { readdir, readFile } from 'node:fs/promises';

/** The kernel counts CPU time in these on every Linux that Node runs on (`USER_HZ`). */
const TICKS_PER_SECOND = 100;

interface ProcessTime {
  readonly parent: number;
  readonly seconds: number;
}

/**
 * CPU seconds, user and system, of a process and of all its descendants that live now. Take it before and after a
 * measurement; a worker that ended in between would make the difference wrong, and negative ones are refused there.
 */
export async function cpuSecondsOfTree(root: number): Promise<number> {
  const times = await allProcesses();
  let total = 0;
  for (const [pid, time] of times) {
    if (isInTree(pid, root, times)) total += time.seconds;
  }
  return total;
}

function isInTree(pid: number, root: number, times: ReadonlyMap<number, ProcessTime>): boolean {
  for (let at: number | undefined = pid; at !== undefined && at > 1; at = times.get(at)?.parent) {
    if (at === root) return true;
  }
  return false;
}

async function allProcesses(): Promise<Map<number, ProcessTime>> {
  const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry));
  const found = await Promise.all(
    pids.map(async (pid) => {
      // A process may end between the listing and the reading.
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
      return stat === undefined ? undefined : ([Number(pid), parseStat(stat)] as const);
    }),
  );
  return new Map(found.filter((entry) => entry !== undefined));
}

/** proc(5): the command's name may hold spaces and brackets, so the fields are counted from its last bracket. */
function parseStat(stat: string): ProcessTime {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(fields[11]) + Number(fields[12]);
  return { parent: Number(fields[1]), seconds: ticks / TICKS_PER_SECOND };
}
