import { Command, RegionIndex } from '../../../protocol/index.ts';
import { practice, specification } from '../../rule.ts';
import { u32At, u64At } from '../../wire/bytes.ts';
import { type ClientRule, clientRule, limitsOf } from '../client-world.ts';
import type { Said } from '../happening.ts';
import { IRQS, REGION_COUNT, REGION_SIZES } from '../model/pci-function.ts';

const { REGION_READ, REGION_WRITE, DEVICE_GET_INFO, DEVICE_GET_REGION_INFO, DEVICE_GET_IRQ_INFO } = Command;
const HEAD = 16;
const LARGEST_REGISTER = 8;

const accessOf = ({ payload }: Said) => ({
  offset: u64At(payload, 0),
  region: u32At(payload, 8),
  count: u32At(payload, 12),
});

/** The least argsz of each question, which is the size of its structure, and how many indices there are. */
const QUESTIONS = new Map<number, { readonly argsz: number; readonly indices: number | null }>([
  [DEVICE_GET_INFO, { argsz: 16, indices: null }],
  [DEVICE_GET_REGION_INFO, { argsz: 32, indices: REGION_COUNT }],
  [DEVICE_GET_IRQ_INFO, { argsz: 16, indices: IRQS.length }],
]);

function wrongQuestion({ header, payload, length }: Said): string | null {
  const question = QUESTIONS.get(header.command);
  if (question === undefined) return null;
  if (length < question.argsz) return `the payload has ${length} bytes`;
  const argsz = u32At(payload, 0);
  if (argsz < question.argsz) return `argsz is ${argsz}, the structure has ${question.argsz} bytes`;
  return null;
}

function wrongIndex({ header, payload }: Said): string | null {
  const { indices = null } = QUESTIONS.get(header.command) ?? {};
  const index = u32At(payload, 8);
  return indices !== null && index >= indices ? `index ${index} of ${indices}` : null;
}

/** Questions about the device, and accesses to its regions. */
export const regionRules: readonly ClientRule[] = [
  clientRule({
    id: 'info.argsz',
    clause: specification('argsz: the size of the structure, and of the largest reply'),
    severity: 'must',
    title: 'questions about the device have room for their answers',
    why: 'A server refuses an argsz below the size of the structure.',
    check: (world) =>
      world.demand(
        world.commands(DEVICE_GET_INFO, DEVICE_GET_REGION_INFO, DEVICE_GET_IRQ_INFO),
        wrongQuestion,
        'an argsz of at least the size of the structure, and as many bytes',
      ),
  }),
  clientRule({
    id: 'info.index',
    clause: specification('VFIO_USER_DEVICE_GET_INFO: num_regions, num_irqs'),
    severity: 'must',
    title: 'only regions and interrupts that the device has are asked about',
    why: 'The client was told how many there are.',
    check: (world) =>
      world.demand(
        world.commands(DEVICE_GET_REGION_INFO, DEVICE_GET_IRQ_INFO),
        wrongIndex,
        'an index below the number that DEVICE_GET_INFO named',
      ),
  }),
  clientRule({
    id: 'region.inside',
    clause: specification('VFIO_USER_REGION_READ, WRITE: the access lies in the region'),
    severity: 'must',
    title: 'every access lies inside of its region',
    why: 'The sizes were told; what is outside belongs to somebody else or to nobody.',
    check: (world) =>
      world.demand(
        world.commands(REGION_READ, REGION_WRITE),
        (said) => {
          const { region, offset, count } = accessOf(said);
          const size = BigInt(REGION_SIZES.get(region) ?? 0);
          return offset + BigInt(count) > size
            ? `bytes ${offset} to ${offset + BigInt(count)} of region ${region}, which has ${size}`
            : null;
        },
        'an access inside of the region',
      ),
  }),
  clientRule({
    id: 'region.count',
    clause: specification('VFIO_USER_REGION_WRITE: count is the size of the data'),
    severity: 'must',
    title: 'count is the number of bytes that are sent or wanted, and not 0',
    why: 'A server that believes count reads beyond the message, one that does not refuses it.',
    check: (world) =>
      world.demand(
        world.commands(REGION_READ, REGION_WRITE),
        (said) => {
          const { count } = accessOf(said);
          const data = said.header.command === REGION_WRITE ? count : 0;
          if (count === 0) return 'count is 0';
          return said.length === HEAD + data
            ? null
            : `count is ${count}, the payload has ${said.length} bytes`;
        },
        'a payload of 16 bytes, and the data of a write',
      ),
  }),
  clientRule({
    id: 'region.limit',
    clause: specification('VFIO_USER_VERSION: max_data_xfer_size'),
    severity: 'must',
    title: 'no access is larger than the server takes',
    why: 'The server has not the memory for it, and refuses the message or closes.',
    check: (world) =>
      world.demand(
        world.commands(REGION_READ, REGION_WRITE),
        (said, session) => {
          const { count } = accessOf(said);
          const most = limitsOf(session).maxDataXferSize;
          return count > most ? `count is ${count}, the server takes ${most}` : null;
        },
        'as many bytes as max_data_xfer_size allows',
      ),
  }),
  clientRule({
    id: 'region.aligned',
    clause: practice('registers have 1, 2, 4 or 8 bytes and stand at a multiple of that (PCI Local Bus 3.0)'),
    severity: 'should',
    title: 'registers are accessed whole: 1, 2, 4 or 8 bytes, aligned',
    why: 'Many devices do not know what to do with a part of two registers.',
    check: (world) =>
      world.demand(
        world.commands(REGION_READ, REGION_WRITE),
        (said) => {
          const { offset, count, region } = accessOf(said);
          // More than a register at once is memory, or a copy of the configuration space.
          if (count > LARGEST_REGISTER || region > RegionIndex.CONFIG) return null;
          const whole = (count & (count - 1)) === 0 && offset % BigInt(Math.max(1, count)) === 0n;
          return whole ? null : `${count} bytes at ${offset} of region ${region}`;
        },
        '1, 2, 4 or 8 bytes at a multiple of that',
      ),
  }),
];
