import { Command, IrqSetFlag } from '../../../protocol/index.ts';
import { specification, uapi } from '../../rule.ts';
import { fields } from '../../wire/bytes.ts';
import { refused } from '../ask.ts';
import { type Irq, interrupts, setIrqs, setIrqsMessage } from '../interrupts.ts';
import { type Refusal, refuseEach, type ServerRule, serverRule } from '../server-rule.ts';
import type { ServerWorld } from '../world.ts';

const SET_IRQS = specification('VFIO_USER_DEVICE_SET_IRQS');
const { DATA_NONE, DATA_BOOL, DATA_EVENTFD, ACTION_UNMASK, ACTION_TRIGGER } = IrqSetFlag;

const refusals = (cases: (irq: Irq) => readonly Refusal[]) => async (world: ServerWorld) => {
  const wire = await world.open();
  for (const irq of interrupts(world)) await refuseEach(wire, cases(irq));
};

/** Forms of SET_IRQS that are wrong. */
export const irqRefusedRules: readonly ServerRule[] = [
  serverRule({
    ...{ id: 'irq.flags-refused', severity: 'must' },
    clause: specification('VFIO_USER_DEVICE_SET_IRQS, flags: mutually exclusive for both sets'),
    title: 'SET_IRQS without exactly one kind of data and one action is refused',
    why: 'client and server would disagree on what was set up',
    check: refusals(({ index }) => [
      setIrqsMessage('with two kinds of data', DATA_NONE | DATA_BOOL | ACTION_TRIGGER, index, 0, 1),
      setIrqsMessage('with two actions', DATA_NONE | ACTION_UNMASK | ACTION_TRIGGER, index, 0, 1),
      setIrqsMessage('without action', DATA_NONE, index, 0, 1),
      setIrqsMessage('without data flag', ACTION_TRIGGER, index, 0, 1),
      setIrqsMessage('with unknown flags', 0x40 | DATA_NONE | ACTION_TRIGGER, index, 0, 1),
    ]),
  }),
  serverRule({
    ...{
      id: 'irq.range-refused',
      severity: 'must',
      clause: uapi('vfio_main.c, vfio_set_irqs_validate_and_prepare'),
    },
    title: 'SET_IRQS of vectors that the device has not is refused',
    why: 'start and count come from outside; behind the table there is other memory',
    check: refusals(({ index, count }) => [
      setIrqsMessage('beyond the vectors', DATA_NONE | ACTION_TRIGGER, index, count, 1),
      setIrqsMessage('over the end of the vectors', DATA_NONE | ACTION_TRIGGER, index, 0, count + 1),
      setIrqsMessage('whose range wraps', DATA_NONE | ACTION_TRIGGER, index, 0xffff_ffff, 2),
      setIrqsMessage('of 2^32 - 1 vectors', DATA_NONE | ACTION_TRIGGER, index, 0, 0xffff_ffff),
      setIrqsMessage('with count 0 and a start', DATA_NONE | ACTION_TRIGGER, index, 1, 0),
    ]),
  }),
  serverRule({
    ...{ id: 'irq.data-refused', severity: 'must', clause: SET_IRQS },
    title: 'SET_IRQS whose data are not as long as its count says is refused',
    why: 'who believes the count reads behind the end of the message',
    check: refusals(({ index }) => [
      setIrqsMessage('with booleans left out', DATA_BOOL | ACTION_TRIGGER, index, 0, 1),
      setIrqsMessage(
        'with too many booleans',
        DATA_BOOL | ACTION_TRIGGER,
        index,
        0,
        1,
        Uint8Array.of(1, 1, 1),
      ),
      ['SET_IRQS cut off', Command.DEVICE_SET_IRQS, fields(20, DATA_NONE | ACTION_TRIGGER, index, 0)],
      [
        'SET_IRQS with argsz 19',
        Command.DEVICE_SET_IRQS,
        fields(19, DATA_NONE | ACTION_TRIGGER, index, 0, 0),
      ],
    ]),
  }),
  serverRule({
    ...{ id: 'irq.fds-refused', severity: 'must', clause: SET_IRQS },
    title: 'SET_IRQS with more or fewer descriptors than its count says is refused',
    why: 'a vector without a descriptor, or a descriptor without a vector, is a mistake that has to be seen',
    async check(world) {
      const wire = await world.open();
      for (const { index } of interrupts(world)) {
        const fds = [world.eventfd(), world.eventfd()];
        const trigger = DATA_EVENTFD | ACTION_TRIGGER;
        refused(
          await setIrqs(wire, index, trigger, { count: 1, fds }),
          'SET_IRQS of 1 vector with 2 descriptors',
        );
        const none = DATA_NONE | ACTION_TRIGGER;
        refused(
          await setIrqs(wire, index, none, { count: 1, fds: [world.eventfd()] }),
          'DATA_NONE with a descriptor',
        );
      }
    },
  }),
];
