import { Command } from './commands.ts';
import { empty } from './empty.ts';
import { flags } from './flags.ts';
import { struct, u32, type ValueOfStruct } from './layout.ts';
import { message } from './message.ts';
import { payload } from './payload.ts';
import { argszAtLeast } from './rules.ts';
import { bytes } from './tails.ts';

/** Flags of an interrupt type (linux/vfio.h, VFIO_IRQ_INFO_). */
export const IrqInfoFlag = flags(
  { EVENTFD: 1, MASKABLE: 2, AUTOMASKED: 4, NORESIZE: 8 },
  {
    EVENTFD: 'can be signalled through eventfds',
    MASKABLE: 'understands MASK and UNMASK',
    AUTOMASKED: 'masks itself when triggered, until UNMASK',
    NORESIZE: 'vectors are set up as a set; more need disabling first',
  },
);

/** DEVICE_GET_IRQ_INFO in both directions (linux/vfio.h, struct vfio_irq_info). */
export const IrqInfo = struct('IRQ info', {
  argsz: u32('request: largest reply payload; reply: bytes needed'),
  flags: u32('request: 0; reply: attributes of the type', { format: IrqInfoFlag }),
  index: u32('which interrupt type'),
  count: u32('request: 0; reply: how many interrupts of the type there are'),
});

/** The value of {@link IrqInfo}. */
export type IrqInfo = ValueOfStruct<typeof IrqInfo>;

/** DEVICE_GET_IRQ_INFO (vfio-user.rst, VFIO_USER_DEVICE_GET_IRQ_INFO). */
export const deviceGetIrqInfo = message({
  command: Command.DEVICE_GET_IRQ_INFO,
  doc: 'How many interrupts of one type there are and how they behave.',
  request: payload('DEVICE_GET_IRQ_INFO request', {
    fixed: IrqInfo,
    trailing: 'tolerated',
    rules: [argszAtLeast(IrqInfo.size, 'kernel, vfio_pci_core.c: EINVAL')],
  }),
  reply: payload('DEVICE_GET_IRQ_INFO reply', { fixed: IrqInfo, trailing: 'tolerated' }),
});

/** Flags of DEVICE_SET_IRQS (linux/vfio.h, VFIO_IRQ_SET_). */
export const IrqSetFlag = flags(
  { DATA_NONE: 1, DATA_BOOL: 2, DATA_EVENTFD: 4, ACTION_MASK: 8, ACTION_UNMASK: 16, ACTION_TRIGGER: 32 },
  {
    DATA_NONE: 'no data: the action is for every interrupt of the range',
    DATA_BOOL: 'a byte per interrupt: the action is for those that are not 0',
    DATA_EVENTFD: 'a descriptor per interrupt, or none at all to take back those given before',
    ACTION_MASK: 'mask, or signal the descriptor when masked',
    ACTION_UNMASK: 'unmask, or signal the descriptor when unmasked',
    ACTION_TRIGGER: 'trigger, or signal the descriptor when triggered',
  },
);

const { DATA_NONE, DATA_BOOL, DATA_EVENTFD, ACTION_MASK, ACTION_UNMASK, ACTION_TRIGGER } = IrqSetFlag;

const DATA = DATA_NONE | DATA_BOOL | DATA_EVENTFD;
const ACTION = ACTION_MASK | ACTION_UNMASK | ACTION_TRIGGER;

/** The fixed part of DEVICE_SET_IRQS (linux/vfio.h, struct vfio_irq_set). */
export const IrqSet = struct('IRQ set', {
  argsz: u32('bytes of the request, data included'),
  flags: u32('one kind of data and one action', { format: IrqSetFlag, strict: true }),
  index: u32('which interrupt type'),
  start: u32('first interrupt of the range'),
  count: u32('interrupts in the range'),
});

/** The value of {@link IrqSet}. */
export type IrqSet = ValueOfStruct<typeof IrqSet>;

const oneBit = (value: number): boolean => value !== 0 && (value & (value - 1)) === 0;

/** DEVICE_SET_IRQS (vfio-user.rst, VFIO_USER_DEVICE_SET_IRQS). */
export const deviceSetIrqs = message({
  command: Command.DEVICE_SET_IRQS,
  doc: 'Sets up, masks, unmasks or triggers interrupts of one type. DATA_NONE|ACTION_TRIGGER with count 0 disables the type.',
  request: payload('DEVICE_SET_IRQS request', {
    fixed: IrqSet,
    tail: bytes('data', 'with DATA_BOOL a byte per interrupt, otherwise nothing'),
    rules: [
      argszAtLeast(IrqSet.size, 'kernel, vfio_main.c, vfio_set_irqs_validate_and_prepare: EINVAL'),
      {
        field: 'flags',
        must: 'have exactly one kind of data',
        source: 'text: "mutually exclusive"; kernel, vfio_main.c: EINVAL',
        holds: (value) => oneBit(value.flags & DATA),
      },
      {
        field: 'flags',
        must: 'have exactly one action',
        source: 'text: "mutually exclusive"; libvfio-user: EINVAL',
        holds: (value) => oneBit(value.flags & ACTION),
      },
      {
        field: 'count',
        must: 'be less than 2^32 - 1 together with start',
        source: 'kernel, vfio_main.c: EINVAL',
        holds: ({ start, count }) => start + count < 0xffff_ffff,
      },
      {
        field: 'count',
        must: 'not be 0 except with DATA_NONE|ACTION_TRIGGER and start 0',
        source: 'text: "a count (and start) of 0"; libvfio-user: EINVAL',
        holds: (value) =>
          value.count > 0 || (value.start === 0 && value.flags === (DATA_NONE | ACTION_TRIGGER)),
      },
      {
        field: 'data',
        must: 'be count bytes with DATA_BOOL and nothing otherwise',
        source: 'text, data; libvfio-user: EINVAL',
        holds: (value) => value.data.length === ((value.flags & DATA_BOOL) === 0 ? 0 : value.count),
      },
    ],
    fdRules: [
      {
        must: 'be none or count with DATA_EVENTFD, and none otherwise',
        source: 'text: "If no file descriptors are provided, this de-assigns"; libvfio-user: EINVAL',
        holds: (value, fds) => fds === 0 || ((value.flags & DATA_EVENTFD) !== 0 && fds === value.count),
      },
    ],
  }),
  reply: empty('DEVICE_SET_IRQS reply'),
  fds: { request: { max: 'max_msg_fds', doc: 'with DATA_EVENTFD the eventfds, one per interrupt' } },
});
