import { Command, DmaMapFlag, DmaUnmapFlag } from '../../../protocol/index.ts';
import { practice, specification } from '../../rule.ts';
import { notApplicable } from '../../verdict.ts';
import { u32At, u64At } from '../../wire/bytes.ts';
import { type ClientRule, type ClientWorld, clientRule } from '../client-world.ts';
import { endedItself, replyTo, type Said, type Session, saidIn, toldIn } from '../happening.ts';

const { DMA_MAP, DMA_UNMAP, DMA_READ, DMA_WRITE } = Command;
const MAP_SIZE = 32;
const UNMAP_SIZE = 24;
const UNMAP_BITMAP_SIZE = 40;
const KNOWN_MAP_FLAGS = DmaMapFlag.READ | DmaMapFlag.WRITE | DmaMapFlag.MMAP | DmaMapFlag.FILE_IO;
const KNOWN_UNMAP_FLAGS = DmaUnmapFlag.GET_DIRTY_BITMAP | DmaUnmapFlag.ALL;
/** The page size that a server takes which names none, bytes. */
const PAGE = 4096n;
const ADDRESSES = 1n << 64n;

interface Range {
  readonly address: bigint;
  readonly size: bigint;
}

/** A map that the client has asked for. */
interface AskedMap extends Range {
  readonly refused: boolean;
}

const mapOf = ({ payload }: Said) => ({
  argsz: u32At(payload, 0),
  flags: u32At(payload, 4),
  offset: u64At(payload, 8),
  address: u64At(payload, 16),
  size: u64At(payload, 24),
});

const unmapOf = ({ payload }: Said) => ({
  argsz: u32At(payload, 0),
  flags: u32At(payload, 4),
  address: u64At(payload, 8),
  size: u64At(payload, 16),
});

function wrongMap(said: Said): string | null {
  const { argsz, flags, address, size } = mapOf(said);
  if (said.length !== MAP_SIZE || argsz < MAP_SIZE) return `argsz ${argsz}, ${said.length} bytes`;
  if ((flags & ~KNOWN_MAP_FLAGS) !== 0) return `flags 0x${flags.toString(16)}`;
  if (size === 0n) return 'a map of no bytes';
  return address + size > ADDRESSES
    ? `0x${address.toString(16)} and ${size} bytes leave the 64-bit space`
    : null;
}

function wrongFd(said: Said): string | null {
  const { offset, size } = mapOf(said);
  const { fds } = said;
  if (fds.length === 0) return offset === 0n ? null : `offset ${offset} without an fd`;
  const [fd] = fds;
  if (fds.length > 1 || fd === undefined) return `${fds.length} fds`;
  if (fd.kind === 'eventfd' || fd.kind === 'socket')
    return `the fd is ${fd.kind === 'socket' ? 'a socket' : 'an eventfd'}`;
  if (fd.size === null || offset + size <= fd.size) return null;
  return `the region ends at byte ${offset + size} of a file of ${fd.size}`;
}

/** Walks through each session with the maps as they are before each DMA message: those that the client has asked for. */
function walkMaps(
  world: ClientWorld,
  judge: (session: Session, said: Said, maps: readonly AskedMap[]) => void,
): void {
  const open = new Map<Session, AskedMap[]>();
  for (const { session, said } of world.commands(DMA_MAP, DMA_UNMAP)) {
    const maps = open.get(session) ?? [];
    open.set(session, maps);
    judge(session, said, maps);
    apply(session, said, maps);
  }
}

function apply(session: Session, said: Said, maps: AskedMap[]): void {
  if (said.header.command === DMA_MAP) {
    maps.push({ ...mapOf(said), refused: (replyTo(session, said)?.header.error ?? 0) !== 0 });
    return;
  }
  const { flags, address, size } = unmapOf(said);
  if ((flags & DmaUnmapFlag.ALL) !== 0) maps.splice(0);
  const at = maps.findIndex((map) => map.address === address && map.size === size);
  if (at >= 0) maps.splice(at, 1);
}

function overlapping(maps: readonly AskedMap[], { address, size }: Range): Range | undefined {
  return maps.find((map) => !map.refused && map.address < address + size && address < map.address + map.size);
}

const hex = ({ address, size }: Range): string => `0x${address.toString(16)}, ${size} bytes`;

/** What a client makes reachable to the device, and how it answers when the device reaches for it. */
export const dmaRules: readonly ClientRule[] = [
  clientRule({
    id: 'dma.map-form',
    clause: specification('VFIO_USER_DMA_MAP'),
    severity: 'must',
    title: 'a map has its size, known flags, bytes, and an end below 2^64',
    why: 'Servers refuse others; QEMU and others then only log it, and the device does not reach the memory.',
    check: (world) =>
      world.demand(world.commands(DMA_MAP), wrongMap, '32 bytes, flags of the specification, size above 0'),
  }),
  clientRule({
    id: 'dma.map-aligned',
    clause: specification('VFIO_USER_VERSION: pgsizes'),
    severity: 'must',
    title: 'address and size of a map are multiples of the page size',
    why: 'Dirty pages are counted in pages; a server that maps the memory can only map whole ones.',
    check: (world) =>
      world.demand(
        world.commands(DMA_MAP),
        (said) => {
          const map = mapOf(said);
          return map.address % PAGE === 0n && map.size % PAGE === 0n ? null : hex(map);
        },
        `multiples of ${PAGE} bytes`,
      ),
  }),
  clientRule({
    id: 'dma.map-fd',
    clause: specification('VFIO_USER_DMA_MAP: offset into the fd'),
    severity: 'must',
    title: 'a map has no fd, or one of memory that is as large as the map says',
    why: 'A server that maps less than it believes is killed by SIGBUS when the device reaches the rest.',
    check: (world) =>
      world.demand(
        world.commands(DMA_MAP),
        wrongFd,
        'at most one fd, of a file that contains the whole region',
      ),
  }),
  clientRule({
    id: 'dma.no-overlap',
    clause: specification('VFIO_USER_DMA_MAP: EEXIST'),
    severity: 'must',
    title: 'no map overlaps another',
    why: 'Servers refuse it, so the client believes that there is a map which is not.',
    check: (world) =>
      walkMaps(world, (session, said, maps) => {
        if (said.header.command !== DMA_MAP) return;
        const other = overlapping(maps, mapOf(said));
        if (other !== undefined)
          world.accuse(
            session,
            said,
            `it maps ${hex(mapOf(said))} over ${hex(other)}`,
            'to unmap that before',
          );
      }),
  }),
  clientRule({
    id: 'dma.unmap-form',
    clause: specification('VFIO_USER_DMA_UNMAP'),
    severity: 'must',
    title: 'an unmap has its size and known flags, and UNMAP_ALL no range',
    why: 'Servers refuse others, and go on reaching the memory.',
    check: (world) =>
      world.demand(
        world.commands(DMA_UNMAP),
        (said) => {
          const { argsz, flags, address, size } = unmapOf(said);
          const least = (flags & DmaUnmapFlag.GET_DIRTY_BITMAP) === 0 ? UNMAP_SIZE : UNMAP_BITMAP_SIZE;
          if (said.length < least || argsz < least) return `argsz ${argsz}, ${said.length} bytes`;
          if ((flags & ~KNOWN_UNMAP_FLAGS) !== 0) return `flags 0x${flags.toString(16)}`;
          const all = (flags & DmaUnmapFlag.ALL) !== 0;
          return all && (address !== 0n || size !== 0n) ? `UNMAP_ALL with ${hex({ address, size })}` : null;
        },
        '24 bytes (40 with a bitmap), flags of the specification',
      ),
  }),
  clientRule({
    id: 'dma.unmap-known',
    clause: specification('VFIO_USER_DMA_UNMAP: the range of an earlier DMA_MAP'),
    severity: 'must',
    title: 'only what was mapped is unmapped, and as a whole',
    why: 'Servers refuse it, and the device goes on reaching memory that the client believes to have back.',
    // What the server refused to map is a matter of its own.
    check: (world) => {
      world.commands(DMA_UNMAP);
      walkMaps(world, (session, said, maps) => {
        const { flags, ...range } = unmapOf(said);
        if (said.header.command !== DMA_UNMAP || (flags & DmaUnmapFlag.ALL) !== 0) return;
        if (!maps.some((map) => isSame(map, range)))
          world.accuse(
            session,
            said,
            `it unmaps ${hex(range)}, which it has not mapped so`,
            'the range of a DMA_MAP',
          );
      });
    },
  }),
  clientRule({
    id: 'dma.unmap-refused',
    clause: practice('libvfio-user answers ENOENT; its issues 463 and 544 tell of clients that do so'),
    severity: 'interoperability',
    title: 'a map that was refused is not unmapped',
    why: 'The client has not noticed that the device does not reach that memory.',
    check: (world) => {
      for (const { session, said } of world.commands(DMA_UNMAP))
        if (wasRefused(session, said))
          world.accuse(session, said, `it unmaps ${hex(unmapOf(said))}, which was refused`, 'no unmap');
    },
  }),
  clientRule({
    id: 'dma.answers',
    clause: specification('VFIO_USER_DMA_READ, VFIO_USER_DMA_WRITE'),
    severity: 'must',
    title: 'DMA messages of the server are answered, with the data or with an error',
    why: 'Without an fd the messages are the only way to the memory; a device that waits for them stands still.',
    check: (world) => {
      let asked = 0;
      for (const session of world.playing('asking')) {
        for (const told of toldIn(session)) {
          const { command, messageId } = told.header;
          if (told.to !== null || (command !== DMA_READ && command !== DMA_WRITE)) continue;
          const wrong = wrongAnswer(session, messageId, command);
          if (wrong?.said === null && endedItself(session)) continue;
          asked += 1;
          if (wrong !== null)
            world.accuse(session, wrong.said, wrong.what, 'an error, or address, count and the data');
        }
      }
      if (asked === 0) notApplicable('the client has mapped no memory, or ended before it could answer');
    },
  }),
];

/** Whether the last map of the range of an unmap, before it, was refused. */
function wasRefused(session: Session, unmap: Said): boolean {
  const said = saidIn(session);
  const maps = said.slice(0, said.indexOf(unmap)).filter(({ header }) => header.command === DMA_MAP);
  const last = maps.findLast((map) => isSame(mapOf(map), unmapOf(unmap)));
  return last !== undefined && (replyTo(session, last)?.header.error ?? 0) !== 0;
}

function isSame(a: Range, b: Range): boolean {
  return a.address === b.address && a.size === b.size;
}

/** What is wrong with the answer to a DMA message of 64 bytes; null: nothing. */
function wrongAnswer(
  session: Session,
  id: number,
  command: number,
): { said: Said | null; what: string } | null {
  const said = session.happenings.find(
    (one): one is Said => one.kind === 'said' && (one.header.flags & 1) === 1 && one.header.messageId === id,
  );
  const name = command === DMA_READ ? 'DMA_READ' : 'DMA_WRITE';
  if (said === undefined) return { said: null, what: `it did not answer ${name}` };
  if (said.header.error !== 0 || (said.header.flags & 0x20) !== 0) return null;
  const count = Number(u64At(said.payload, 8));
  // The older text has a count of 32 bits in the reply to DMA_WRITE.
  if (command === DMA_WRITE)
    return said.length === 16 || said.length === 12 ? null : { said, what: `${said.length} bytes` };
  return said.length === 16 + count && count <= 64
    ? null
    : { said, what: `count ${count} and ${said.length} bytes` };
}
