import { Errno } from '../../../errors/index.ts';
import { Command } from '../../../protocol/index.ts';
import { MigrationState, stateName } from '../../../states/index.ts';
import { practice, specification, uapi } from '../../rule.ts';
import { demand, given, notApplicable } from '../../verdict.ts';
import { equal, fields, u32At } from '../../wire/bytes.ts';
import type { Wire } from '../../wire/wire.ts';
import { failed, goTo, refused, tryReadData, trySetState, tryWriteData, worked } from '../ask.ts';
import {
  bring,
  comeBack,
  dataOf,
  ORDINARY,
  readAll,
  runningMigrator,
  saved,
  savedCopy,
  writeAll,
} from '../driving.ts';
import { fill } from '../marks.ts';
import { type ServerRule, serverRule } from '../server-rule.ts';

const { STOP, RUNNING, STOP_COPY, RESUMING, PRE_COPY } = MigrationState;
const READ = specification('VFIO_USER_MIG_DATA_READ');
const WRITE = specification('VFIO_USER_MIG_DATA_WRITE');
const needs = ['spawn', 'migration'] as const;

/** Reads once, where the end may be told by a size of 0 or, as the kernel does in PRE_COPY, by ENOMSG. */
async function readOnce(wire: Wire, size: number): Promise<Uint8Array> {
  const reply = await tryReadData(wire, size);
  if (failed(reply) && reply.header.error === Errno.ENOMSG) return fields();
  return dataOf(worked(reply), size);
}

/** Reads to the end in PRE_COPY, which is only the end for now. */
async function drain(wire: Wire): Promise<void> {
  for (let bytes = 0; ; ) {
    const { length } = await readOnce(wire, 32_704);
    if (length === 0) return;
    bytes += length;
    demand(bytes < 2 ** 30, `after ${bytes} bytes the data of PRE_COPY still go on`, 'an end');
  }
}

/** How the state of a device is read and written. */
export const dataRules: readonly ServerRule[] = [
  serverRule({
    ...{ id: 'data.whole', severity: 'must', clause: READ, needs },
    title: 'The state can be read in STOP_COPY, and comes to an end',
    why: 'without it nothing can be moved',
    async check(world) {
      const wire = await runningMigrator(world);
      await bring(wire, STOP_COPY);
      await readAll(wire, ORDINARY);
    },
  }),
  serverRule({
    ...{ id: 'data.any-size', severity: 'must', clause: READ, needs },
    title: 'The state can be read in pieces of any size',
    why: 'how many bytes a client asks for is its own affair',
    async check(world) {
      const whole = await savedCopy(world);
      const wire = await runningMigrator(world);
      await bring(wire, STOP_COPY);
      const first = await readAll(wire, [1, 7, 64, 3, 4096, 1000]);
      demand(first.length > 0, 'no bytes came', `about ${whole.length}`);
    },
  }),
  serverRule({
    ...{ id: 'data.order', severity: 'must', clause: READ, needs },
    title: 'Small reads give the same bytes in the same order as large ones',
    why: 'the data are a stream; where it is cut has no meaning',
    async check(world) {
      const one = await savedCopy(world);
      const wire = await runningMigrator(world);
      await bring(wire, STOP_COPY);
      const small = await given('reading in small pieces', () => readAll(wire, [61, 4096]));
      world.closeWires();
      // What has changed between the first and the last has perhaps changed before the small ones.
      const two = await savedCopy(world);
      if (!equal(one, two)) notApplicable('the state differs from one reading to the next');
      demand(equal(small, one), 'the bytes differ from those of large reads', 'the same bytes');
    },
  }),
  serverRule({
    ...{ id: 'data.end-stays', severity: 'must', needs },
    clause: uapi('read(2) of the data fd: the end of file stays'),
    title: 'At the end further reads give nothing, as often as they are tried',
    why: 'clients ask once more to be sure, since a short read need not be the end',
    async check(world) {
      const wire = await runningMigrator(world);
      await saved(wire);
      for (let turn = 0; turn < 3; turn += 1) {
        const { length } = await readOnce(wire, 4096);
        demand(length === 0, `after the end ${length} bytes came`, 'none');
      }
    },
  }),
  serverRule({
    ...{ id: 'data.not-padded', severity: 'should', clause: READ, needs },
    title: 'A reply has as many bytes of data as it says, and argsz tells its length',
    why: 'bytes that mean nothing cost time in the phase in which the guest stands still',
    async check(world) {
      const wire = await runningMigrator(world);
      await saved(wire);
      const payload = worked(await tryReadData(wire, 1000));
      const size = u32At(payload, 4);
      demand(
        payload.length === 8 + size,
        `the reply says ${size} bytes and has ${payload.length - 8}`,
        `${size}`,
      );
      demand(u32At(payload, 0) === 8 + size, `argsz is ${u32At(payload, 0)}`, `${8 + size}`);
    },
  }),
  serverRule({
    ...{ id: 'data.pre-copy', severity: 'must', needs: [...needs, 'precopy'] },
    clause: specification('PRE_COPY -> STOP_COPY: continue to transfer migration data'),
    title: 'The session of PRE_COPY comes to an end for now, and goes on in STOP_COPY',
    why: 'a client reads what there is while the guest runs, and the rest when it stands still',
    async check(world) {
      const wire = await runningMigrator(world);
      await bring(wire, PRE_COPY);
      await drain(wire);
      await given('a change to STOP_COPY', () => goTo(wire, STOP_COPY));
      await readAll(wire, ORDINARY);
    },
  }),
  serverRule({
    ...{ id: 'data.read-outside', severity: 'must', clause: READ, needs },
    title: 'MIG_DATA_READ is refused outside of a saving session',
    why: 'a client that reads by mistake must not take what it gets for a state',
    async check(world) {
      const wire = await runningMigrator(world);
      for (const state of [RUNNING, STOP, RESUMING]) {
        await bring(wire, state);
        refused(await tryReadData(wire, 16), `MIG_DATA_READ in ${stateName(state)}`);
      }
      await comeBack(wire);
    },
  }),
  serverRule({
    ...{ id: 'data.write-outside', severity: 'must', clause: WRITE, needs },
    title: 'MIG_DATA_WRITE is refused outside of RESUMING',
    why: 'it would change a device that runs, or one that is being saved',
    async check(world) {
      const wire = await runningMigrator(world);
      for (const state of [RUNNING, STOP, STOP_COPY]) {
        await bring(wire, state);
        refused(await tryWriteData(wire, fields(0)), `MIG_DATA_WRITE in ${stateName(state)}`);
      }
    },
  }),
  serverRule({
    ...{ id: 'data.session-ends', severity: 'must', needs },
    clause: specification('STOP_COPY -> STOP: terminates the data transfer session'),
    title: 'STOP ends the session, and the next one begins from the start',
    why: 'a migration that is tried again would send half a state',
    async check(world) {
      const whole = await savedCopy(world);
      const wire = await runningMigrator(world);
      await bring(wire, STOP_COPY);
      await given('a read', async () => worked(await tryReadData(wire, 16)));
      await given('a change to STOP', () => goTo(wire, STOP));
      await given('a change to STOP_COPY', () => goTo(wire, STOP_COPY));
      const { length } = await given('reading', () => readAll(wire, ORDINARY));
      const what = `the second session has ${length} bytes of ${whole.length}, after 16 were read of the first`;
      demand(length + 16 > whole.length, what, `about ${whole.length}`);
    },
  }),
  serverRule({
    ...{ id: 'data.too-much', severity: 'hardening', needs },
    clause: practice('libvfio-user bounds MIG_DATA_READ only by what the client has named'),
    title: 'A read of 4 GiB is refused',
    why: 'a server that makes room for what is asked for can be ended by any client',
    async check(world) {
      const wire = await runningMigrator(world);
      await bring(wire, STOP_COPY);
      const payload = fields(0xffff_ffff, 0xffff_fff0);
      refused(await wire.request(Command.MIG_DATA_READ, payload), 'MIG_DATA_READ of 4 GiB');
    },
  }),
  serverRule({
    ...{ id: 'data.malformed', severity: 'must', clause: WRITE, needs },
    title: 'Migration data that are shorter than they say, or cut off, are refused',
    why: 'the server would load what is behind the message in its memory',
    async check(world) {
      const wire = await runningMigrator(world);
      await bring(wire, RESUMING);
      const short = fields(12 + 100, 104, fields(0));
      refused(await wire.request(Command.MIG_DATA_WRITE, short), 'MIG_DATA_WRITE with 4 of 104 bytes');
      refused(await wire.request(Command.MIG_DATA_WRITE, fields(8)), 'MIG_DATA_WRITE of 4 bytes');
      refused(await wire.request(Command.MIG_DATA_READ, fields(8)), 'MIG_DATA_READ of 4 bytes');
      await comeBack(wire);
    },
  }),
  serverRule({
    ...{ id: 'data.other-pieces', severity: 'must', clause: WRITE, needs },
    title: 'A state can be written in other pieces than it was read',
    why: 'between two hosts the data pass through buffers that cut them anew',
    async check(world) {
      const data = await savedCopy(world);
      for (const sizes of [[1, 13, 5, 2048], [32_704]]) {
        const wire = await runningMigrator(world);
        await bring(wire, RESUMING);
        await writeAll(wire, data, sizes);
        worked(await trySetState(wire, STOP), `a change to STOP after pieces of ${sizes.join(', ')} bytes`);
        worked(await trySetState(wire, RUNNING), 'a change to RUNNING');
        world.closeWires();
      }
    },
  }),
  serverRule({
    ...{ id: 'data.large-pieces', severity: 'must', needs },
    clause: specification('max_data_xfer_size: maximum count for data transfer messages'),
    title: 'A state can be written in messages as long as max_data_xfer_size allows',
    why: 'short messages cost time in the phase in which the guest stands still',
    async check(world) {
      await fill(world);
      const data = await savedCopy(world);
      const largest = Math.min(world.facts.maxDataXferSize, 1024 * 1024);
      if (data.length < 65_536) notApplicable(`the state has ${data.length} bytes, less than 64 KiB`);
      const wire = await runningMigrator(world);
      await bring(wire, RESUMING);
      await writeAll(wire, data, [largest]);
      worked(await trySetState(wire, STOP), 'a change to STOP');
      await comeBack(wire);
    },
  }),
];
