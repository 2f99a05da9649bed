import * as fc from 'fast-check';
import t from 'tap';
import { createLog, type Log } from '../../src/observe/log.ts';
import { LineWriter } from '../../src/observe/line-writer.ts';
import { withoutCredentials } from '../../src/observe/redaction.ts';

const CANARY = 'c4nary-Xq7';
const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;

let text = '';
class Kept extends LineWriter {
  override write(line: string): boolean {
    text += line;
    return true;
  }
}
const log = createLog('trace', 'test', new Kept(1));

/** What stands in the log that `write` wrote to. */
function written(write: (log: Log) => void): { text: string; lines: Record<string, unknown>[] } {
  text = '';
  write(log);
  const lines = text.trim().split('\n');
  return { text, lines: lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

const NAMES = [
  'authorization',
  'Authorization',
  'proxy-authorization',
  'password',
  'bindPassword',
  'passwd',
  'passphrase',
  'secret',
  'client_secret',
  'token',
  'access_token',
  'identitytoken',
  'X-Registry-Auth-Token',
  'cookie',
  'set-cookie',
  'credentials',
  'htpasswd',
  'privateKey',
  'private_key',
  'sealingKey',
  'sessionKey',
  'ticketKeys',
  'apiKey',
  'keyPem',
];

void t.test('at every level and depth, whatever it is called and whatever it is', async (t) => {
  for (const name of NAMES) {
    const error = Object.assign(
      new Error('failed', { cause: Object.assign(new Error('why'), { [name]: CANARY }) }),
      {
        options: { headers: { [name]: CANARY } },
        [name]: CANARY,
      },
    );
    const shapes: object[] = [
      { [name]: CANARY },
      { [name]: [CANARY] },
      { [name]: { value: CANARY } },
      { a: { b: [{ c: { [name]: CANARY } }] } },
      { headers: { [name]: [CANARY, CANARY] } },
      { rawHeaders: ['Host', 'edge', name, CANARY] },
      { err: error },
      { reason: error, list: [error] },
      { err: new AggregateError([error], 'all of them') },
      { err: Object.assign(new Error('plain cause'), { cause: { [name]: CANARY } }) },
      { shown: { toJSON: () => ({ [name]: CANARY }) } },
      error,
    ];
    for (const [at, shape] of shapes.entries())
      for (const level of LEVELS) {
        const { text, lines } = written((log) => log[level](shape, 'message'));
        t.notMatch(text, CANARY, `${name} ${at} ${level}`);
        t.match(lines, [{ level, msg: 'message', process: 'test' }]);
      }
    t.notMatch(written((log) => log.child({ [name]: CANARY, a: { [name]: CANARY } }).info('x')).text, CANARY);
    t.notMatch(
      written((log) =>
        log
          .child({})
          .child({ [name]: CANARY })
          .info({ [name]: CANARY }),
      ).text,
      CANARY,
    );
  }
});

void t.test('in texts: what a header or a URL holds', async (t) => {
  const basic = Buffer.from(`ada:${CANARY}`).toString('base64');
  for (const text of [
    `GET / Authorization: Basic ${basic}`,
    `sent authorization: bearer ${CANARY}`,
    `BEARER ${CANARY}`,
    `redis://:${CANARY}@redis:6379 refused`,
    `https://ada:${CANARY}@registry.corp/v2/`,
    `https://${CANARY}@registry.corp/v2/`,
  ]) {
    const error = new Error(text, { cause: new Error(text) });
    const logged = written((log) => {
      log.info(text);
      log.info({ text, deep: { list: [text] } });
      log.error({ err: error });
      log.error(error);
      log.child({ text }).warn('x');
    });
    t.equal(logged.lines.length, 5);
    t.notMatch(logged.text, CANARY, text);
    t.notMatch(logged.text, basic, text);
  }
});

void t.test('what is no secret stays as it is', async (t) => {
  const facts = {
    route: 'manifest',
    status: 200,
    keys: ['redis.password', 'tls.key'],
    problems: [{ key: 'upstreams[0].credentials', message: 'is missing' }],
    image: 'https://registry.corp/team/app@sha256:0123',
    challenge: 'Bearer realm="https://auth.corp/token",service="corp"',
    why: 'basic authentication was refused',
    nested: { none: null, missing: undefined, yes: true },
    hasToken: false,
    at: new Date(0),
    bytes: Buffer.from('abc'),
  };
  const { lines } = written((log) => log.info(facts, 'said'));
  t.match(lines[0], {
    ...facts,
    nested: { none: null, yes: true },
    at: '1970-01-01T00:00:00.000Z',
    bytes: '[3 bytes]',
  });
  const cause = new TypeError('the cause');
  const error = Object.assign(new RangeError('the message', { cause }), { code: 'ECODE', syscall: 'open' });
  t.match(written((log) => log.error({ err: error }, 'failed')).lines[0]?.['err'], {
    type: 'RangeError',
    message: /the message: the cause/,
    stack: /the message[^]*caused by: TypeError: the cause/,
    code: 'ECODE',
    syscall: 'open',
  });
  t.match(written((log) => log.error(error)).lines[0], { msg: 'the message', err: { code: 'ECODE' } });
});

void t.test('what goes round, is deep, or is wide ends', async (t) => {
  const round: Record<string, unknown> = { name: 'round' };
  round['self'] = round;
  round['list'] = [round, { round }];
  t.match(written((log) => log.info({ round })).lines[0], { round: { self: '[circular]' } });
  let deep: object = { token: CANARY };
  for (let n = 0; n < 50; n += 1) deep = { deep };
  t.notMatch(written((log) => log.info(deep)).text, CANARY);
  const error = new Error('itself');
  error.cause = error;
  t.equal(written((log) => log.info({ err: error, error })).lines.length, 1);
});

void t.test('a line stays a line of JSON, whatever text is in it', async () => {
  const piece = fc.constantFrom(
    'Basic ',
    'bearer ',
    '://',
    '@',
    ':',
    '"',
    '\\',
    'aB9=',
    ' ',
    '\n',
    'token',
    'é',
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      const text = pieces.join('');
      const line = JSON.stringify({ text, after: 1 });
      return (JSON.parse(withoutCredentials(line)) as { after: number }).after === 1;
    }),
  );
});
