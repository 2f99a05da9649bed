import t from 'tap';
import { AuditChain } from '../../src/audit/audit-chain.ts';
import { startAccessEdge } from '../access/access-edge.ts';
import { createImage } from '../support/images.ts';
import { eventually } from '../support/eventually.ts';

const NASTY = [
  'ada\r\n{"level":"error","msg":"forged"}',
  'ada\u001b[2J\u001b]0;owned\u0007',
  'ada\u2028{"forged":1}\u2029\u0085\u009b31m',
  'ada\u202e\u2066gpj.exe\u2069\ufeff\u200b',
  'ada","decision":"allow","user":"root',
  'ada\u0000\ud800 \u{e0041}',
];
const people = new Map(NASTY.map((user, at) => [`127.0.0.${at + 10}`, { user, groups: [user] }]));
const image = createImage({ layers: [3000] });

void t.test(
  'whatever somebody is called, and whatever they send: one plain line each, which says the same',
  async (t) => {
    const edge = await startAccessEdge(t, { people, roles: [{ role: 'reader', users: ['*'] }] });
    edge.central.addImage('team/app', '1.0', image);
    const hostile = { headers: { 'user-agent': 'x\u0085y\u009b31m', 'x-forwarded-for': '1.2.3.4\u0085' } };
    for (const from of people.keys()) {
      t.equal((await edge.ask(from, 'GET', '/v2/team/app/manifests/1.0', hostile)).status, 200);
      t.equal((await edge.ask(from, 'GET', '/v2/team/app%0d%0aforged/manifests/1.0')).status, 400);
      t.equal((await edge.ask(from, 'GET', '/v2/team/app/manifests/1.0?ns=%1b%5b2J%e2%80%a8')).status, 404);
    }
    await eventually(() => edge.logText.split('\n').length > people.size * 3);
    const lines = edge.logText.split('\n').slice(0, -1);
    t.equal(lines.length, people.size * 3);
    const chain = new AuditChain();
    const recorded = edge.recorded();
    t.equal(recorded.length, people.size * 3);
    for (const text of [...lines, ...recorded.map((entry) => chain.line({ ...entry }).slice(0, -1))]) {
      t.match(text, /^[\x20-\x7e]+$/, 'printable ASCII, in one line');
      const { user, status } = JSON.parse(text) as { user?: string; status: number };
      // Who sends what is no request is not even asked for a name.
      if (status === 400) t.ok(user === undefined || user === 'anonymous');
      else t.ok(NASTY.includes(user ?? ''), text);
    }
    t.notMatch(edge.logText, 'x\\u0085', 'nothing of the headers');
  },
);
