import { describe, expect, it } from 'vitest';
import { decodePlan, encodePlan, type UpgradePlan } from '../../../src/vm/upgrade/plan.ts';

const PLAN: UpgradePlan = {
  channels: { main: '/run/vm/main.sock', cpr: '/run/vm/cpr ü.sock' },
  ...{ newMonitorPath: '/run/vm/new.qmp', newGdbPath: '/run/vm/private/new.gdb' },
  settings: { mode: 'normal', capabilities: [{ capability: 'events', state: true }] },
  ...{ policies: ['reset', 'keep'], ids: ['disk0', 'nic0'], scratch: null },
};

const changed = (changes: object): Uint8Array => {
  const json: unknown = JSON.parse(new TextDecoder().decode(encodePlan(PLAN)));
  return new TextEncoder().encode(JSON.stringify({ ...Object(json), ...changes }));
};

describe('the plan of an upgrade', () => {
  it.each([
    ['without a place for files', PLAN],
    ['with one', { ...PLAN, scratch: '/var/tmp' }],
    ['of a VM without devices', { ...PLAN, policies: [], ids: [] }],
  ])('is read as it was written, %s', (_, plan) => {
    expect(decodePlan(encodePlan(plan))).toEqual(plan);
  });

  it.each([
    ['is no JSON', new TextEncoder().encode('{'), /makes no sense/],
    ['is of another version', changed({ version: 2 }), /another version/],
    ['lacks a path', changed({ cpr: 7 }), /no cpr/],
    ['has a device without a name', changed({ devices: [{ policy: 'keep' }] }), /device has no name/],
    ['has a capability without a name', changed({ capabilities: [{}] }), /capability has no name/],
  ])('is refused when it %s', (_, bytes, why) => {
    expect(() => decodePlan(bytes)).toThrow(why);
  });
});
