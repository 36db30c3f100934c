import type { Rule } from '../finding.ts';
import { field, isTrueAt, numberAt, textAt } from '../json-value.ts';
import type { SocketFacts } from '../socket-facts.ts';
import { deviceRule } from './device-rule.ts';

/** Whose the device is, by what a server of Ferry tells. */
export const ownershipRules: readonly Rule<SocketFacts>[] = [
  deviceRule({
    id: 'retired',
    certainty: 'certain',
    effect: 'prevents',
    finding: ({ description: { server } }) =>
      isTrueAt(server, 'claim', 'retired') ? 'the device is retired: its state has been handed over' : null,
    why: 'It runs elsewhere, so it must not run here; it can become a destination only after it was released.',
    next: ({ path }) => [
      'find out who has it: ferry recover',
      `when you are certain that its state runs nowhere else: ferry state ${path} --set RUNNING --force`,
    ],
  }),
  deviceRule({
    id: 'claimed',
    certainty: 'certain',
    effect: 'prevents',
    finding: ({ description: { server } }) => {
      const id = textAt(server, 'claim', 'id');
      if (id === null || isTrueAt(server, 'claim', 'retired')) return null;
      return isTrueAt(server, 'claim', 'attended')
        ? `migration ${id} has the device, and goes on`
        : `migration ${id} has the device, and nobody acts for it now`;
    },
    why: 'A device belongs to one migration at a time, also when its controller has died.',
    next: ({ path }) => [
      'see it, or finish what it left: ferry migration status, ferry recover',
      `when nobody has it any more: ferry state ${path} --set RUNNING --force`,
    ],
  }),
  deviceRule({
    id: 'session-driven',
    certainty: 'certain',
    effect: 'prevents',
    finding: ({ description: { server } }) => {
      const owner = textAt(server, 'migration', 'sessionOwner');
      if (owner === null || field(server, 'claim') !== null) return null;
      return `another ${owner} connection drives a migration of this device`;
    },
    why: 'Only one connection at a time may change the migration state; the others get EBUSY.',
    next: () => ['wait for it, or end that controller'],
  }),
  deviceRule({
    id: 'hold-expired',
    certainty: 'certain',
    effect: 'endangers',
    finding: ({ description: { server } }) =>
      isTrueAt(server, 'hold', 'active') && isTrueAt(server, 'hold', 'expired')
        ? 'the device has been held for too long: its VMM gets EBUSY for every access'
        : null,
    why: 'The guest sees all ones and may give the device up.',
    next: ({ path }) => [
      'finish the migration: ferry recover',
      `or let the device run: ferry state ${path} --set RUNNING`,
    ],
  }),
  deviceRule({
    id: 'writes-dropped',
    certainty: 'certain',
    effect: 'endangers',
    finding: ({ description: { server } }) => {
      const count = numberAt(server, 'hold', 'droppedWrites') ?? 0;
      return count > 0 ? `holds that expired have dropped ${count} writes of the VMM` : null;
    },
    why: 'The guest believes that they were done.',
    next: () => [
      'allow a shorter downtime, or a longer --hold-limit (ferry serve)',
      'reset the device in the guest',
    ],
  }),
];
