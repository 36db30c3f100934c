import type { MessageKind } from '../../../src/channel/index.ts';
import type { JournalRole } from '../../../src/journal/index.ts';
import type { Stage } from './stage.ts';

/** Something that happens to a migration. */
export interface Blow {
  readonly name: string;
  /** Devices and their state survive it, so that afterwards the guest runs on one side, whole. */
  readonly harmless: boolean;
  strike(stage: Stage): unknown;
}

/** Both engines, every device, the VMMs, and the way between. */
export const BLOWS: readonly Blow[] = [
  { name: 'death of the sender', harmless: true, strike: (stage) => stage.kill('sender') },
  { name: 'death of the receiver', harmless: true, strike: (stage) => stage.kill('receiver') },
  { name: 'death of both engines', harmless: true, strike: killBoth },
  { name: 'death of the source device', harmless: false, strike: (stage) => stage.killDevice('sender') },
  {
    name: 'death of the destination device',
    harmless: false,
    strike: (stage) => stage.killDevice('receiver'),
  },
  {
    name: 'death of the source host',
    harmless: false,
    strike: (stage) => {
      for (const i of stage.worlds.keys()) stage.killDevice('sender', i);
      stage.kill('sender');
    },
  },
  {
    name: 'death of the destination host',
    harmless: false,
    strike: (stage) => {
      for (const i of stage.worlds.keys()) stage.killDevice('receiver', i);
      stage.kill('receiver');
    },
  },
  {
    name: 'death of the VMM of the source',
    harmless: true,
    strike: (stage) => stage.deadVmms.add('sender'),
  },
  {
    name: 'death of the VMM of the destination',
    harmless: true,
    strike: (stage) => stage.deadVmms.add('receiver'),
  },
  {
    name: 'reset by the VMM of the source',
    harmless: false,
    strike: (stage) => stage.device('sender').resetByVmm(),
  },
  {
    name: 'reset by the VMM of the destination',
    harmless: false,
    strike: (stage) => stage.device('receiver').resetByVmm(),
  },
  {
    name: 'cancellation by the operator of the source',
    harmless: true,
    strike: (stage) => stage.cancelling.sender.abort(),
  },
  {
    name: 'cancellation by the operator of the destination',
    harmless: true,
    strike: (stage) => stage.cancelling.receiver.abort(),
  },
  { name: 'a cut channel', harmless: true, strike: (stage) => stage.cut() },
  { name: 'a stalled channel', harmless: true, strike: (stage) => stage.stall('sender', 'receiver') },
  {
    name: 'a corrupted channel, as the destination notices',
    harmless: true,
    strike: (stage) => stage.channel('receiver').abort('bytes were changed on the way'),
  },
  {
    name: 'a corrupted channel, as the source notices',
    harmless: true,
    strike: (stage) => stage.channel('sender').abort('bytes were changed on the way'),
  },
  {
    name: 'a channel that is deaf towards the destination',
    harmless: true,
    strike: (stage) => stage.stall('sender'),
  },
  {
    name: 'a channel that is deaf towards the source',
    harmless: true,
    strike: (stage) => stage.stall('receiver'),
  },
  { name: 'a source that refuses every SET', harmless: true, strike: (stage) => refuse(stage, 'sender') },
  {
    name: 'a destination that refuses every SET',
    harmless: true,
    strike: (stage) => refuse(stage, 'receiver'),
  },
];

function killBoth(stage: Stage): void {
  stage.kill('sender');
  stage.kill('receiver');
}

function refuse(stage: Stage, role: JournalRole): void {
  for (const handle of stage.processes[role].handles) handle.refusesSets = true;
}

/** What is said that decides. */
export const DECISIVE: readonly (readonly [JournalRole, MessageKind])[] = [
  ['receiver', 'OPENED'],
  ['receiver', 'SYNCED'],
  ['sender', 'COMPLETE'],
  ['receiver', 'READY'],
  ['sender', 'COMMIT'],
  ['receiver', 'RUNNING'],
  ['sender', 'ABORT'],
  ['receiver', 'ABORTED'],
];
