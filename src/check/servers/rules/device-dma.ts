import { Command } from '../../../protocol/index.ts';
import { practice, specification } from '../../rule.ts';
import { broken, demand, given, notApplicable } from '../../verdict.ts';
import { equal, fields, u64At, versionPayload } from '../../wire/bytes.ts';
import type { Wire } from '../../wire/wire.ts';
import { read, worked } from '../ask.ts';
import { capabilitiesOf } from '../facts.ts';
import { answer, EDU_LIVENESS, eduEnds, Guest, type Manner, refuse, runEdu, startEdu } from '../guest.ts';
import { type ServerRule, serverRule } from '../server-rule.ts';
import type { ServerWorld } from '../world.ts';
import { map, unmap } from './dma.ts';

const MESSAGES = specification('VFIO_USER_DMA_READ, VFIO_USER_DMA_WRITE');
const BASE = 0x10_0000n;
const SIZE = 0x4000;
const LENGTH = 1024;
const SECOND = 0x2000n;
const needs = ['spawn', 'dma'] as const;

/** A client whose memory is reached by messages. */
async function byMessages(world: ServerWorld, manner: Manner = answer, proposal?: string) {
  const wire = await world.open(proposal);
  const guest = new Guest(BASE, SIZE);
  guest.serve(wire, manner);
  await given('DMA_MAP', async () => worked(await map(wire, { address: BASE, size: BigInt(SIZE) })));
  return { wire, guest };
}

/** Has the device copy a piece of guest memory to another place. */
async function copy(wire: Wire): Promise<void> {
  await runEdu(wire, 'from memory', BASE, LENGTH);
  await runEdu(wire, 'to memory', BASE + SECOND, LENGTH);
}

const copied = (memory: Uint8Array): boolean =>
  equal(memory.subarray(Number(SECOND), Number(SECOND) + LENGTH), memory.subarray(0, LENGTH));

/** A client that answers badly, and demands that the server goes on. */
const survives = (what: string, manner: Manner) => async (world: ServerWorld) => {
  const { wire } = await byMessages(world, manner);
  await startEdu(wire, 'from memory', BASE, LENGTH);
  await wire.request(Command.DEVICE_GET_INFO, fields(16, 0, 0, 0)).catch(() => {});
  await world.stillServes(what);
};

/** The memory of a client that shares it. */
async function byMapping(world: ServerWorld) {
  const fd = world.memfd(SIZE);
  const buffer = world.native.map(fd, 0, SIZE, 3);
  if (typeof buffer === 'number') return notApplicable('shared memory can not be mapped here');
  const memory = new Uint8Array(buffer);
  memory.set(new Guest(BASE, SIZE).memory);
  const wire = await world.open();
  await given('DMA_MAP', async () =>
    worked(await map(wire, { address: BASE, size: BigInt(SIZE), fds: [fd] })),
  );
  return { wire, memory, fd };
}

/** What a device does with guest memory, on edu, whose DMA the suite can start. */
export const deviceDmaRules: readonly ServerRule[] = [
  serverRule({
    ...{ id: 'dma-messages.copy', severity: 'must', clause: MESSAGES, needs },
    title: 'A device reads and writes guest memory by messages, exactly',
    why: 'guests whose memory can not be shared have no other way',
    async check(world) {
      const { wire, guest } = await byMessages(world);
      await copy(wire);
      guest.demandRight();
      demand(copied(guest.memory), 'the bytes that came back are others', 'those that the device had read');
    },
  }),
  serverRule({
    ...{ id: 'dma-messages.limit', severity: 'must', needs },
    clause: specification('Read and Write Operations: count must not exceed max_data_xfer_size of the peer'),
    title: 'No message asks for more than the max_data_xfer_size of the client',
    why: 'QEMU answers E2BIG; the DMA fails',
    async check(world) {
      const { wire, guest } = await byMessages(world, answer, '{"capabilities":{"max_data_xfer_size":256}}');
      await copy(wire);
      const long = guest.seen.find(({ count }) => count > 256n);
      demand(long === undefined, `${long?.count} bytes were asked for in one message`, 'at most 256');
    },
  }),
  serverRule({
    ...{ id: 'dma-messages.refused', severity: 'must', needs },
    clause: practice('QEMU 11.1 answers ENODEV while the guest has not set Bus Master'),
    title: 'A client that refuses an access is survived, and so is the device',
    why: 'a guest that switches Bus Master off in the wrong moment would lose its device',
    async check(world) {
      const { wire } = await byMessages(world, refuse);
      await startEdu(wire, 'from memory', BASE, LENGTH);
      await eduEnds(wire);
      await read(wire, 0, EDU_LIVENESS, 4);
    },
  }),
  serverRule({
    ...{ id: 'dma-messages.interleaved', severity: 'interoperability', needs },
    clause: specification('Command Concurrency: unrelated messages can appear in between'),
    title: 'A register is read while the server waits for a DMA reply',
    why: "QEMU's vCPU waits for the register with the lock that the DMA reply needs: both would wait for ever",
    async check(world) {
      const held: (() => void)[] = [];
      const { wire } = await byMessages(world, (guest, on, message) => {
        held.push(() => void Promise.resolve(answer(guest, on, message)).catch(() => {}));
      });
      await startEdu(wire, 'from memory', BASE, LENGTH);
      await read(wire, 0, EDU_LIVENESS, 4);
      if (held.length === 0) await read(wire, 0, EDU_LIVENESS, 4);
      for (const go of held.splice(0)) go();
      wire.onCommand = (message) => void wire.answer(message, fields(), { error: 14 }).catch(() => {});
      await eduEnds(wire);
    },
  }),
  serverRule({
    ...{ id: 'dma-messages.twin', severity: 'must', needs },
    clause: specification(
      'VFIO_USER_DMA_READ: passed over the separate socket if twin-socket mode has been negotiated',
    ),
    title: 'With a twin socket the messages come over it',
    why: 'the client listens for them there',
    async check(world) {
      const wire = await world.connect();
      const proposal = versionPayload('{"capabilities":{"max_msg_fds":8,"twin_socket":{"supported":true}}}');
      const { payload, fds } = await wire.request(Command.VERSION, proposal);
      const [fd] = fds;
      if (capabilitiesOf(payload).get('twin_socket') === undefined || fd === undefined) {
        notApplicable('the server enables no twin socket');
      }
      const twin = world.wireOn(world.native.dup(fd), 'twin');
      const guest = new Guest(BASE, SIZE);
      guest.serve(twin);
      wire.onCommand = ({ header }) =>
        void guest.complaints.push(`command ${header.command} came on the main socket`);
      await given('DMA_MAP', async () => worked(await map(wire, { address: BASE, size: BigInt(SIZE) })));
      await copy(wire);
      guest.demandRight();
    },
  }),
  serverRule({
    ...{ id: 'dma-messages.after-unmap', severity: 'must', needs },
    clause: specification('VFIO_USER_DMA_UNMAP: no longer available for DMA'),
    title: 'Nothing is asked for that was unmapped',
    why: 'the memory belongs to somebody else by then',
    async check(world) {
      const { wire, guest } = await byMessages(world);
      await given('DMA_UNMAP', async () => worked(await unmap(wire, BASE, BigInt(SIZE))));
      await startEdu(wire, 'from memory', BASE, LENGTH);
      await eduEnds(wire);
      demand(
        guest.seen.length === 0,
        `${guest.seen.length} messages came for memory that was unmapped`,
        'none',
      );
    },
  }),
  serverRule({
    ...{
      id: 'dma-messages.lying-client',
      severity: 'hardening',
      clause: specification('Security Considerations'),
      needs,
    },
    title: 'A reply that is longer, shorter or elsewhere than was asked is survived',
    why: 'a client that errs must not make the server read or write other memory',
    async check(world) {
      await survives('a DMA_READ reply with too many bytes', (_, wire, message) =>
        wire.answer(message, fields(u64At(message.payload, 0), 1n << 40n, new Uint8Array(65_536))),
      )(world);
      await survives('a DMA_READ reply without its bytes', (_, wire, message) =>
        wire.answer(message, fields(u64At(message.payload, 0), u64At(message.payload, 8))),
      )(world);
    },
  }),
  serverRule({
    ...{
      id: 'dma-messages.client-leaves',
      severity: 'must',
      clause: specification('Client Disconnection'),
      needs,
    },
    title: 'A client that goes while a DMA message waits for its reply is survived',
    why: 'a VMM that crashes must not take the device of the next one with it',
    check: survives('a client that left in the middle of DMA', (_, wire) => wire.close()),
  }),
  serverRule({
    ...{ id: 'dma.shared-copy', severity: 'must', clause: specification('VFIO_USER_DMA_MAP'), needs },
    title: 'A device reads and writes shared guest memory, exactly',
    why: 'it is how data get into a guest and out of it',
    async check(world) {
      const { wire, memory } = await byMapping(world);
      await copy(wire);
      demand(copied(memory), 'the bytes that came back are others', 'those that the device had read');
    },
  }),
  serverRule({
    ...{ id: 'dma.shared-unmapped', severity: 'must', clause: specification('VFIO_USER_DMA_UNMAP'), needs },
    title: 'Shared memory that was unmapped is not written any more',
    why: 'the memory belongs to somebody else by then',
    async check(world) {
      const { wire, memory } = await byMapping(world);
      await runEdu(wire, 'from memory', BASE, LENGTH);
      await given('DMA_UNMAP', async () => worked(await unmap(wire, BASE, BigInt(SIZE))));
      const before = Uint8Array.from(memory);
      await startEdu(wire, 'to memory', BASE + SECOND, LENGTH);
      await eduEnds(wire);
      demand(equal(memory, before), 'memory was written after it was unmapped', 'no change');
    },
  }),
  serverRule({
    ...{ id: 'dma.read-only', severity: 'must', needs },
    clause: specification('VFIO_USER_DMA_MAP, flags: readable, writeable'),
    title: 'Memory that is mapped for reading only is not written',
    why: 'a ROM of the guest, or memory of its host, would change',
    async check(world) {
      const { wire, memory, fd } = await byMapping(world);
      const elsewhere = 16n * BASE;
      const range = { address: elsewhere, size: BigInt(SIZE), flags: 1, fds: [fd] };
      await given('DMA_MAP', async () => worked(await map(wire, range)));
      await runEdu(wire, 'from memory', BASE, LENGTH);
      const before = Uint8Array.from(memory);
      await startEdu(wire, 'to memory', elsewhere + SECOND, LENGTH);
      await eduEnds(wire);
      if (!equal(memory, before)) broken('memory that is mapped for reading was written', 'no change');
    },
  }),
];
