import {
  Command,
  deviceGetIrqInfo,
  IrqIndex,
  IrqInfo,
  IrqInfoFlag,
  IrqSetFlag,
} from '../../../protocol/index.ts';
import { practice, specification, uapi } from '../../rule.ts';
import { demand, notApplicable } from '../../verdict.ts';
import { fields } from '../../wire/bytes.ts';
import type { Wire } from '../../wire/wire.ts';
import { ask, decoded, worked } from '../ask.ts';
import { type Irq, interrupts, setIrqs, setIrqsMessage } from '../interrupts.ts';
import { refuseEach, type ServerRule, serverRule } from '../server-rule.ts';
import type { ServerWorld } from '../world.ts';

const SET_IRQS = specification('VFIO_USER_DEVICE_SET_IRQS');
const IRQ_INFO = specification('VFIO_USER_DEVICE_GET_IRQ_INFO');
const { DATA_NONE, DATA_BOOL, DATA_EVENTFD, ACTION_MASK, ACTION_UNMASK, ACTION_TRIGGER } = IrqSetFlag;

/** Gives vectors from 0 on an eventfd each; returns them. */
async function arm(world: ServerWorld, wire: Wire, { index }: Irq, count = 1): Promise<readonly number[]> {
  const fds = Array.from({ length: count }, () => world.eventfd());
  worked(await setIrqs(wire, index, DATA_EVENTFD | ACTION_TRIGGER, { count, fds }), 'SET_IRQS with eventfds');
  return fds;
}

function signals(world: ServerWorld, fd: number | undefined): number {
  return fd === undefined ? 0 : Math.max(0, world.native.eventfdRead(fd));
}

async function disarm(wire: Wire, { index }: Irq): Promise<void> {
  await setIrqs(wire, index, DATA_NONE | ACTION_TRIGGER, { count: 0 });
}

/** Types of interrupt, and every form of setting them up. */
export const irqRules: readonly ServerRule[] = [
  serverRule({
    ...{ id: 'irq.each-type', severity: 'must', clause: IRQ_INFO },
    title: 'Every type of interrupt that is counted can be asked about, and the answer is about it',
    why: 'clients set up what they are told of',
    async check(world) {
      const wire = await world.open();
      for (let index = 0; index < Math.min(world.facts.numIrqs, 64); index += 1) {
        const bytes = await ask(wire, Command.DEVICE_GET_IRQ_INFO, fields(IrqInfo.size, 0, index, 0));
        const info = decoded(deviceGetIrqInfo.reply, bytes);
        demand(info.index === index, `asked about type ${index}, it tells of ${info.index}`, `${index}`);
        demand(info.argsz >= IrqInfo.size, `argsz is ${info.argsz}`, `at least ${IrqInfo.size}`);
      }
    },
  }),
  serverRule({
    ...{
      id: 'irq.no-such-type',
      severity: 'must',
      clause: uapi('vfio_pci_core.c: index >= VFIO_PCI_NUM_IRQS, EINVAL'),
    },
    title: 'A type of interrupt that is not counted is refused',
    why: 'the index comes from outside; behind the table there is other memory',
    async check(world) {
      const wire = await world.open();
      const index = world.facts.numIrqs;
      await refuseEach(wire, [
        [`GET_IRQ_INFO of type ${index}`, Command.DEVICE_GET_IRQ_INFO, fields(16, 0, index, 0)],
        ['GET_IRQ_INFO with argsz 15', Command.DEVICE_GET_IRQ_INFO, fields(15, 0, 0, 0)],
        setIrqsMessage(`of type ${index}`, DATA_NONE | ACTION_TRIGGER, index, 0, 1),
        setIrqsMessage('of type 2^31', DATA_NONE | ACTION_TRIGGER, 0x8000_0000, 0, 1),
      ]);
    },
  }),
  serverRule({
    ...{ id: 'irq.trigger', severity: 'must' },
    clause: specification('VFIO_USER_DEVICE_SET_IRQS: a client may trigger a device IRQ itself'),
    title: 'TRIGGER without data signals the eventfd of each interrupt in the range',
    why: 'it is how a client tests that interrupts arrive',
    async check(world) {
      const wire = await world.open();
      for (const irq of interrupts(world)) {
        const fds = await arm(world, wire, irq, Math.min(irq.count, 2));
        worked(await setIrqs(wire, irq.index, DATA_NONE | ACTION_TRIGGER, { count: fds.length }), 'TRIGGER');
        for (const [vector, fd] of fds.entries()) {
          demand(signals(world, fd) > 0, `the eventfd of vector ${vector} was not signalled`, 'a signal');
        }
        await disarm(wire, irq);
      }
    },
  }),
  serverRule({
    ...{ id: 'irq.trigger-bool', severity: 'must' },
    clause: specification('VFIO_IRQ_SET_DATA_BOOL: performed if the corresponding boolean is true'),
    title: 'TRIGGER with booleans signals those that are true, and no others',
    why: 'interrupts that nobody asked for confuse a guest, those that are missing stop it',
    async check(world) {
      const irqs = interrupts(world, 2);
      const wire = await world.open();
      for (const irq of irqs) {
        const fds = await arm(world, wire, irq, 2);
        const data = Uint8Array.of(0, 1);
        worked(
          await setIrqs(wire, irq.index, DATA_BOOL | ACTION_TRIGGER, { count: 2, data }),
          'TRIGGER with 0, 1',
        );
        demand(
          signals(world, fds[1]) > 0,
          'the interrupt whose boolean is true was not signalled',
          'a signal',
        );
        demand(signals(world, fds[0]) === 0, 'the interrupt whose boolean is false was signalled', 'none');
        await disarm(wire, irq);
      }
    },
  }),
  serverRule({
    ...{ id: 'irq.replace', severity: 'must', clause: SET_IRQS },
    title: 'An eventfd takes the place of the one before',
    why: 'QEMU gives new eventfds when a guest sets up its vectors anew',
    async check(world) {
      const wire = await world.open();
      for (const irq of interrupts(world)) {
        const [before] = await arm(world, wire, irq);
        const [after] = await arm(world, wire, irq);
        worked(await setIrqs(wire, irq.index, DATA_NONE | ACTION_TRIGGER, { count: 1 }), 'TRIGGER');
        demand(signals(world, after) > 0, 'the new eventfd was not signalled', 'a signal');
        demand(signals(world, before) === 0, 'the old eventfd was signalled', 'none');
        await disarm(wire, irq);
      }
    },
  }),
  serverRule({
    ...{ id: 'irq.disable', severity: 'must' },
    clause: specification(
      'VFIO_USER_DEVICE_SET_IRQS: a count (and start) of 0 disables all interrupts of the index',
    ),
    title: 'DATA_NONE|TRIGGER with count 0 takes all eventfds of a type back',
    why: 'an eventfd that is signalled afterwards may belong to something else by then',
    async check(world) {
      const wire = await world.open();
      for (const irq of interrupts(world)) {
        const [fd] = await arm(world, wire, irq);
        worked(await setIrqs(wire, irq.index, DATA_NONE | ACTION_TRIGGER, { count: 0 }), 'count 0');
        await setIrqs(wire, irq.index, DATA_NONE | ACTION_TRIGGER, { count: 1 });
        demand(signals(world, fd) === 0, 'the eventfd was signalled after all were disabled', 'no signal');
      }
    },
  }),
  serverRule({
    ...{ id: 'irq.take-back', severity: 'must' },
    clause: specification(
      'DATA_EVENTFD: if no file descriptors are provided, this de-assigns the specified interrupts',
    ),
    title: 'DATA_EVENTFD without descriptors takes back those of the range, wherever that begins',
    why: 'QEMU takes vectors back one by one; those around them go on',
    async check(world) {
      const irqs = interrupts(world, 2);
      const wire = await world.open();
      for (const irq of irqs) {
        const fds = await arm(world, wire, irq, 2);
        const range = { start: 1, count: 1 };
        worked(await setIrqs(wire, irq.index, DATA_EVENTFD | ACTION_TRIGGER, range), 'taking back vector 1');
        await setIrqs(wire, irq.index, DATA_NONE | ACTION_TRIGGER, { count: 1 });
        await setIrqs(wire, irq.index, DATA_NONE | ACTION_TRIGGER, range);
        demand(
          signals(world, fds[0]) > 0,
          'vector 0 was not signalled, though only 1 was taken back',
          'a signal',
        );
        demand(signals(world, fds[1]) === 0, 'vector 1 was signalled after it was taken back', 'no signal');
        await disarm(wire, irq);
      }
    },
  }),
  serverRule({
    ...{ id: 'irq.empty-enable', severity: 'interoperability' },
    clause: practice(
      'QEMU 11.1, hw/vfio/pci.c, vfio_msix_enable: vector 0 with fd -1, so without descriptors',
    ),
    title: 'DATA_EVENTFD without descriptors is accepted for a vector that has none',
    why: 'it is how QEMU enables MSI-X; guests get no interrupts otherwise',
    async check(world) {
      const msix = interrupts(world).find(({ index }) => index === IrqIndex.MSIX);
      if (msix === undefined) notApplicable('the device has no MSI-X');
      const wire = await world.open();
      worked(
        await setIrqs(wire, msix.index, DATA_EVENTFD | ACTION_TRIGGER, { count: 1 }),
        'SET_IRQS without descriptors',
      );
    },
  }),
  serverRule({
    ...{ id: 'irq.unmask-intx', severity: 'interoperability' },
    clause: practice('QEMU 11.1, hw/vfio/pci.c, vfio_pci_intx_eoi: UNMASK of INTx after each interrupt'),
    title: 'UNMASK of INTx is accepted',
    why: 'QEMU sends it whatever GET_IRQ_INFO says; INTx stays silent after the first interrupt otherwise',
    async check(world) {
      const intx = interrupts(world).find(({ index }) => index === IrqIndex.INTX);
      if (intx === undefined) notApplicable('the device has no INTx');
      const wire = await world.open();
      await arm(world, wire, intx);
      worked(await setIrqs(wire, intx.index, DATA_NONE | ACTION_UNMASK, { count: 1 }), 'UNMASK of INTx');
    },
  }),
  serverRule({
    ...{ id: 'irq.maskable', severity: 'must' },
    clause: specification('VFIO_IRQ_INFO_MASKABLE: supports the MASK and UNMASK actions'),
    title: 'A type that says MASKABLE can be masked and unmasked',
    why: 'a client relies on what the server says of itself',
    async check(world) {
      const irqs = interrupts(world).filter(({ flags }) => (flags & IrqInfoFlag.MASKABLE) !== 0);
      if (irqs.length === 0) notApplicable('no type of interrupt says MASKABLE');
      const wire = await world.open();
      for (const irq of irqs) {
        await arm(world, wire, irq);
        worked(
          await setIrqs(wire, irq.index, DATA_NONE | ACTION_MASK, { count: 1 }),
          `MASK of type ${irq.index}`,
        );
        worked(
          await setIrqs(wire, irq.index, DATA_NONE | ACTION_UNMASK, { count: 1 }),
          `UNMASK of type ${irq.index}`,
        );
        await disarm(wire, irq);
      }
    },
  }),
];
