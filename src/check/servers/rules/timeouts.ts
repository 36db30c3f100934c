import { Command, RegionIndex } from '../../../protocol/index.ts';
import { practice, specification } from '../../rule.ts';
import { broken, demand } from '../../verdict.ts';
import { fields, rawMessage, versionPayload } from '../../wire/bytes.ts';
import { Patience } from '../../wire/patience.ts';
import { failed } from '../ask.ts';
import { PROPOSAL } from '../facts.ts';
import { type ServerRule, serverRule } from '../server-rule.ts';
import type { ServerWorld } from '../world.ts';

const SECURITY = specification('Security Considerations: prevent against denial of service scenarios');

/** Demands that a client is served although another one came first, and said only this much. */
const letsOthersIn = (what: string, bytes: Uint8Array) => async (world: ServerWorld) => {
  const first = await world.connect();
  await first.send(bytes);
  const patience = new Patience(world.silenceMs);
  while (patience.left > 0) {
    const second = await world.connect();
    const id = await second.post(Command.VERSION, versionPayload(PROPOSAL)).catch(() => null);
    const reply =
      id === null ? null : await second.replyOrEnd(id, 'VERSION', patience.left || 1).catch(() => null);
    second.close();
    if (reply !== null && !failed(reply)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  broken(`nobody else is served while ${what} keeps its connection`, `service within ${world.silenceMs} ms`);
};

const HALF = rawMessage(Command.VERSION, versionPayload(PROPOSAL)).subarray(0, 20);

/** How long things take. */
export const timeoutsRules: readonly ServerRule[] = [
  serverRule({
    ...{ id: 'timeouts.silent-client', severity: 'hardening', clause: SECURITY, needs: ['spawn'] },
    title: 'A client that connects and says nothing does not keep others out',
    why: 'a tool that hangs would keep the VMM from its device for ever',
    check: letsOthersIn('a client that says nothing', fields()),
  }),
  serverRule({
    ...{ id: 'timeouts.half-version', severity: 'hardening', clause: SECURITY, needs: ['spawn'] },
    title: 'A client that stops in the middle of VERSION does not keep others out',
    why: 'a tool that hangs would keep the VMM from its device for ever',
    check: letsOthersIn('a client that has said half of VERSION', HALF),
  }),
  serverRule({
    ...{ id: 'timeouts.register', severity: 'interoperability' },
    clause: practice('QEMU 11.1, x-msg-timeout: 5 s; a vCPU waits with the big lock'),
    title: 'A register is read within a second',
    why: 'the whole guest stands still meanwhile, and QEMU gives up after 5 s',
    async check(world) {
      const wire = await world.open();
      for (let turn = 0; turn < 10; turn += 1) {
        const started = performance.now();
        await wire.request(Command.REGION_READ, fields(0n, RegionIndex.CONFIG, 4), { timeoutMs: 5000 });
        const took = Math.round(performance.now() - started);
        demand(took < 1000, `a read of the configuration space took ${took} ms`, 'less than 1000 ms');
      }
    },
  }),
];
