import t from 'tap';
import { runProcess } from '../support/processes.ts';

const LOG = new URL('../../src/observe/log.ts', import.meta.url).href;

/** What a process with a log of its own writes to standard output; `entries` is code that uses `log`. */
async function written(level: string, entries: string): Promise<Record<string, unknown>[]> {
  const script = `import { createLog } from '${LOG}'; const log = createLog('${level}', 'keeper'); ${entries}`;
  const { code, stdout, stderr } = await runProcess(process.execPath, ['--input-type=module', '-e', script]);
  if (code !== 0 || !(stdout === '' || stdout.endsWith('\n'))) throw new Error(stderr + stdout);
  const lines = stdout.split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

void t.test('JSON lines: level in words, process, time, all there at the end', async (t) => {
  const lines = await written(
    'info',
    `log.debug('no'); for (let n = 0; n < 500; n += 1) log.info({ n }, 'yes');`,
  );
  t.equal(lines.length, 500);
  t.strictSame(Object.keys(lines[0] ?? {}).toSorted(), ['level', 'msg', 'n', 'process', 'time']);
  t.match(lines[499], { level: 'info', process: 'keeper', n: 499, msg: 'yes', time: /^\d{4}-.*Z$/ });
  t.strictSame(await written('silent', `log.fatal('nothing')`), []);
});

void t.test('whatever a client put into it, one entry is one line', async (t) => {
  const evil = 'a\r\n{"level":"fatal"}\u001b[2J\u2028\0"\\';
  const text = JSON.stringify(evil);
  const lines = await written('info', `log.warn({ user: ${text} }, ${text}); log.info('after');`);
  t.equal(lines.length, 2);
  t.match(lines[0], { level: 'warn', user: evil, msg: evil });
});
