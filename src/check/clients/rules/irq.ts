import { Command, IrqSetFlag } from '../../../protocol/index.ts';
import { specification, uapi } from '../../rule.ts';
import { u32At } from '../../wire/bytes.ts';
import { type ClientRule, clientRule } from '../client-world.ts';
import type { Said } from '../happening.ts';
import { IRQS } from '../model/pci-function.ts';

const { DATA_NONE, DATA_BOOL, DATA_EVENTFD, ACTION_MASK, ACTION_UNMASK, ACTION_TRIGGER } = IrqSetFlag;
const DATA = DATA_NONE | DATA_BOOL | DATA_EVENTFD;
const ACTION = ACTION_MASK | ACTION_UNMASK | ACTION_TRIGGER;
const HEAD = 20;
const MASKABLE = 2;
const SET_IRQS = uapi('struct vfio_irq_set');

const setOf = ({ payload }: Said) => ({
  argsz: u32At(payload, 0),
  flags: u32At(payload, 4),
  index: u32At(payload, 8),
  start: u32At(payload, 12),
  count: u32At(payload, 16),
});

const isOneBit = (value: number): boolean => value !== 0 && (value & (value - 1)) === 0;

function wrongForm(said: Said): string | null {
  const { argsz, flags, start, count } = setOf(said);
  if (said.length < HEAD || argsz < HEAD) return `argsz ${argsz}, ${said.length} bytes`;
  if ((flags & ~(DATA | ACTION)) !== 0 || !isOneBit(flags & DATA) || !isOneBit(flags & ACTION))
    return `flags 0x${flags.toString(16)}`;
  if (count > 0) return null;
  const disables = (flags & DATA) === DATA_NONE && (flags & ACTION) === ACTION_TRIGGER && start === 0;
  return disables ? null : `count 0 with flags 0x${flags.toString(16)}, start ${start}`;
}

function wrongData(said: Said): string | null {
  const { flags, count } = setOf(said);
  const bools = (flags & DATA) === DATA_BOOL ? count : 0;
  if (said.length !== HEAD + bools) return `${said.length - HEAD} bytes of data for ${count} vectors`;
  if (said.fds.length === 0) return null;
  if ((flags & DATA) !== DATA_EVENTFD) return `${said.fds.length} fds without DATA_EVENTFD`;
  if (said.fds.length !== count) return `${said.fds.length} fds for ${count} vectors`;
  return said.fds.every(({ kind }) => kind === 'eventfd') ? null : 'an fd that is no eventfd';
}

/** How interrupts are set up. */
export const irqRules: readonly ClientRule[] = [
  clientRule({
    id: 'irq.form',
    clause: SET_IRQS,
    severity: 'must',
    title: 'SET_IRQS has one kind of data and one action, and count 0 only disables',
    why: 'Servers refuse other combinations, and the interrupts stay as they were.',
    check: (world) =>
      world.demand(world.commands(Command.DEVICE_SET_IRQS), wrongForm, 'one DATA and one ACTION flag'),
  }),
  clientRule({
    id: 'irq.range',
    clause: specification('VFIO_USER_DEVICE_GET_IRQ_INFO: count'),
    severity: 'must',
    title: 'only vectors that the device has are set',
    why: 'The client was told how many there are; servers refuse the whole message.',
    check: (world) =>
      world.demand(
        world.commands(Command.DEVICE_SET_IRQS),
        (said) => {
          const { index, start, count } = setOf(said);
          const has = IRQS[index]?.count;
          if (has === undefined) return `interrupt index ${index}`;
          return start + count <= has ? null : `vectors ${start} to ${start + count} of ${has}`;
        },
        'vectors below the count that DEVICE_GET_IRQ_INFO named',
      ),
  }),
  clientRule({
    id: 'irq.data',
    clause: SET_IRQS,
    severity: 'must',
    title: 'SET_IRQS has an eventfd or a byte for each vector, as its flags say, or no fd at all',
    why: 'The server would give an eventfd to the wrong vector, or write to something that is none.',
    check: (world) =>
      world.demand(
        world.commands(Command.DEVICE_SET_IRQS),
        wrongData,
        'count eventfds or none; count bytes of DATA_BOOL',
      ),
  }),
  clientRule({
    id: 'irq.maskable',
    clause: specification('VFIO_USER_DEVICE_GET_IRQ_INFO: MASKABLE'),
    severity: 'must',
    title: 'only an index that is maskable is masked',
    why: 'Servers refuse it for others, and the interrupt comes all the same.',
    check: (world) =>
      world.demand(
        world.commands(Command.DEVICE_SET_IRQS),
        (said) => {
          const { flags, index } = setOf(said);
          const masks = (flags & (ACTION_MASK | ACTION_UNMASK)) !== 0;
          return masks && ((IRQS[index]?.flags ?? MASKABLE) & MASKABLE) === 0
            ? `index ${index} is not maskable`
            : null;
        },
        'MASK and UNMASK only where DEVICE_GET_IRQ_INFO says MASKABLE',
      ),
  }),
];
