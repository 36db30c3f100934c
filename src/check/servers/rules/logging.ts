import {
  bitmapSize,
  Command,
  DmaUnmapFlag,
  Feature,
  FeatureFlag,
  FeatureHead,
  LoggingReport,
} from '../../../protocol/index.ts';
import { specification, uapi } from '../../rule.ts';
import { demand, given, notApplicable } from '../../verdict.ts';
import { fields, u64At } from '../../wire/bytes.ts';
import type { Received } from '../../wire/message-cutter.ts';
import type { Wire } from '../../wire/wire.ts';
import { failed, feature, refused, worked } from '../ask.ts';
import { runEdu } from '../guest.ts';
import { type ServerRule, serverRule } from '../server-rule.ts';
import type { ServerWorld } from '../world.ts';
import { map } from './dma.ts';

const START = specification('VFIO_DEVICE_FEATURE_DMA_LOGGING_START / VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP');
const REPORT = specification('VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT');
const LOG_START = uapi('vfio_main.c, vfio_ioctl_device_feature_logging_start');
const { GET, SET } = FeatureFlag;
const KiB = 1024n;
const BASE = 0x100_0000n;
const SIZE = 4096n * KiB;
/** The granularities in which pages are logged, and those in which they are reported: every one from 4 KiB to 4 MiB. */
const LOGGED = [4n * KiB, 8n * KiB, 64n * KiB, 2048n * KiB];
const REPORTED = Array.from({ length: 11 }, (_, power) => (4n * KiB) << BigInt(power));
const needs = ['spawn', 'logging'] as const;

function start(
  wire: Wire,
  pageSize: bigint,
  ranges: readonly (readonly [bigint, bigint])[] = [],
): Promise<Received> {
  const data = fields(pageSize, ranges.length, 0, ...ranges.flat());
  return feature(wire, SET | Feature.DMA_LOGGING_START, data);
}

function report(wire: Wire, iova: bigint, length: bigint, pageSize: bigint): Promise<Received> {
  const argsz = FeatureHead.size + LoggingReport.size + Number(bitmapSize(length, pageSize || 1n)) + 64;
  return feature(wire, GET | Feature.DMA_LOGGING_REPORT, fields(iova, length, pageSize), { argsz });
}

/** The numbers of the pages whose bits are set. Demands that the reply is as long as the range asks for. */
function dirtyPages(reply: Received, length: bigint, pageSize: bigint): readonly number[] {
  const payload = worked(reply, `DMA_LOGGING_REPORT at ${pageSize}`);
  const bitmap = payload.subarray(FeatureHead.size + LoggingReport.size);
  const size = Number(bitmapSize(length, pageSize));
  demand(bitmap.length === size, `the bitmap at ${pageSize} has ${bitmap.length} bytes`, `${size}`);
  const pages: number[] = [];
  for (let page = 0; page < 8 * size; page += 1) {
    if (((bitmap[page >> 3] ?? 0) & (1 << (page & 7))) !== 0) pages.push(page);
  }
  return pages;
}

/** A client that has mapped memory, and asked for a log of it. */
async function logging(world: ServerWorld, pageSize = 4n * KiB): Promise<Wire> {
  const wire = await world.open();
  const fd = world.memfd(Number(SIZE));
  await given('DMA_MAP', async () => worked(await map(wire, { address: BASE, size: SIZE, fds: [fd] })));
  await given('DMA_LOGGING_START', async () => worked(await start(wire, pageSize)));
  return wire;
}

/** Has edu write a few bytes to each of these pages of 4 KiB. */
async function dirty(wire: Wire, pages: readonly number[]): Promise<void> {
  for (const page of pages) await runEdu(wire, 'to memory', BASE + BigInt(page) * 4n * KiB, 16);
}

/** Pages by which a bit that is lost or moved shows: the ends of bytes and words, and those behind page 255. */
const MARKS = [0, 7, 8, 63, 64, 127, 128, 255, 256, 511, 1023];

/** The log of pages that a device writes. */
export const loggingRules: readonly ServerRule[] = [
  serverRule({
    ...{ id: 'logging.start-stop', severity: 'must', clause: START, needs },
    title: 'Logging starts and stops, and the reply tells the page size that was chosen',
    why: 'a migration can not begin without',
    async check(world) {
      const wire = await world.open();
      const data = worked(await start(wire, 4n * KiB), 'DMA_LOGGING_START').subarray(FeatureHead.size);
      demand(data.length >= 16, `the reply has ${data.length} bytes of data`, 'those of the request');
      const chosen = u64At(data, 0);
      demand(chosen > 0n && (chosen & (chosen - 1n)) === 0n, `the page size is ${chosen}`, 'a power of two');
      worked(await feature(wire, SET | Feature.DMA_LOGGING_STOP), 'DMA_LOGGING_STOP');
    },
  }),
  serverRule({
    ...{ id: 'logging.start-page-sizes', severity: 'must', needs },
    clause: specification(
      'DMA_LOGGING_START, page_size: hints what granularity the device should try to achieve',
    ),
    title: 'Logging starts whatever page size is wished for',
    why: 'guests on huge pages ask for huge pages',
    async check(world) {
      const wire = await world.open();
      for (const size of LOGGED) {
        worked(await start(wire, size), `DMA_LOGGING_START with page size ${size}`);
        worked(await feature(wire, SET | Feature.DMA_LOGGING_STOP), 'DMA_LOGGING_STOP');
      }
    },
  }),
  serverRule({
    ...{ id: 'logging.report-page-sizes', severity: 'must', clause: REPORT, needs },
    title: 'A report can be had in every page size, whatever the one of the log',
    why: 'who reports and who logs need not agree; some servers never come back from it',
    async check(world) {
      for (const logged of LOGGED) {
        const wire = await logging(world, logged);
        for (const size of REPORTED) dirtyPages(await report(wire, BASE, SIZE, size), SIZE, size);
        // A server may keep its log when its client goes.
        await feature(wire, SET | Feature.DMA_LOGGING_STOP);
        world.closeWires();
      }
    },
  }),
  serverRule({
    ...{ id: 'logging.report-echo', severity: 'must', needs },
    clause: specification(
      'DMA_LOGGING_REPORT: the data field of the response is identical, with the bitmap added',
    ),
    title: 'A report repeats its range and page size',
    why: 'a client that asks for several ranges has to know which one it got',
    async check(world) {
      const wire = await logging(world);
      const data = worked(await report(wire, BASE, SIZE, 8n * KiB)).subarray(FeatureHead.size);
      const same = u64At(data, 0) === BASE && u64At(data, 8) === SIZE && u64At(data, 16) === 8n * KiB;
      demand(same, 'range or page size of the report are others', 'those of the request');
    },
  }),
  serverRule({
    ...{ id: 'logging.outside-bits', severity: 'must', needs },
    clause: specification('DMA_LOGGING_REPORT: the bits outside of the requested range must be zero'),
    title: 'Bits behind the end of the range are 0',
    why: 'a client that copies the words takes other pages for dirty',
    async check(world) {
      const wire = await logging(world);
      const length = 3n * 4n * KiB;
      const beyond = dirtyPages(await report(wire, BASE, length, 4n * KiB), length, 4n * KiB).filter(
        (page) => page > 2,
      );
      demand(
        beyond.length === 0,
        `bits ${beyond.join(', ')} are set in a range of 3 pages`,
        'none behind bit 2',
      );
    },
  }),
  serverRule({
    ...{ id: 'logging.any-range', severity: 'must', clause: REPORT, needs },
    title: 'A report can be had of any range inside of a map, and across two of them',
    why: 'QEMU asks by its own sections of memory, which are not those that it had mapped',
    async check(world) {
      const wire = await logging(world);
      const fd = world.memfd(Number(SIZE));
      await given('DMA_MAP', async () =>
        worked(await map(wire, { address: BASE + SIZE, size: SIZE, fds: [fd] })),
      );
      const page = 4n * KiB;
      worked(await report(wire, BASE + page, 2n * page, page), 'a report that begins inside of a map');
      worked(await report(wire, BASE, 2n * SIZE, page), 'a report across two maps');
    },
  }),
  serverRule({
    ...{ id: 'logging.no-fd', severity: 'must', clause: REPORT, needs },
    title: 'A report can be had of memory that is mapped without a descriptor',
    why: 'ROMs have none; a report that fails there fails the whole migration',
    async check(world) {
      const wire = await logging(world);
      await given('DMA_MAP', async () => worked(await map(wire, { address: 4n * BASE, size: SIZE })));
      worked(await report(wire, 4n * BASE, SIZE, 4n * KiB), 'a report of memory without a descriptor');
    },
  }),
  serverRule({
    ...{ id: 'logging.off', severity: 'must', needs },
    clause: specification(
      'DMA_LOGGING_REPORT: only valid if logging of dirty pages has been previously started',
    ),
    title: 'A report is refused while nothing is logged',
    why: 'an empty one would say that nothing was written',
    async check(world) {
      const wire = await world.open();
      await given('DMA_MAP', async () => worked(await map(wire, { address: BASE, size: SIZE })));
      refused(await report(wire, BASE, SIZE, 4n * KiB), 'DMA_LOGGING_REPORT before DMA_LOGGING_START');
      await given('DMA_LOGGING_START', async () => worked(await start(wire, 4n * KiB)));
      await given('DMA_LOGGING_STOP', async () =>
        worked(await feature(wire, SET | Feature.DMA_LOGGING_STOP)),
      );
      refused(await report(wire, BASE, SIZE, 4n * KiB), 'DMA_LOGGING_REPORT after DMA_LOGGING_STOP');
    },
  }),
  serverRule({
    ...{ id: 'logging.report-refused', severity: 'must', clause: REPORT, needs },
    title: 'A report with a page size that is no power of two, or of nothing, is refused',
    why: 'the server would divide by 0, or tell pages that are none',
    async check(world) {
      const wire = await logging(world);
      for (const size of [0n, 4097n, 6n * KiB])
        refused(await report(wire, BASE, SIZE, size), `a report at ${size}`);
      refused(await report(wire, BASE, 0n, 4n * KiB), 'a report of 0 bytes');
      refused(
        await report(wire, 2n ** 64n - 4n * KiB, 16n * KiB, 4n * KiB),
        'a report of a range that wraps around 2^64',
      );
    },
  }),
  serverRule({
    ...{ id: 'logging.start-refused', severity: 'should', clause: LOG_START, needs },
    title: 'A log with an impossible page size, or ranges that overlap or wrap, is refused',
    why: 'nobody can say afterwards what was logged',
    async check(world) {
      const wire = await world.open();
      const page = 4n * KiB;
      refused(await start(wire, 0n), 'DMA_LOGGING_START with page size 0');
      refused(await start(wire, 4097n), 'DMA_LOGGING_START with page size 4097');
      refused(await start(wire, page, [[BASE, 0n]]), 'a range of 0 bytes');
      const overlapping = [
        [BASE, 4n * page],
        [BASE + page, page],
      ] as const;
      refused(await start(wire, page, overlapping), 'ranges that overlap');
      refused(await start(wire, page, [[2n ** 64n - page, 2n * page]]), 'a range that wraps around 2^64');
    },
  }),
  serverRule({
    ...{ id: 'logging.cut-off', severity: 'hardening', needs },
    clause: specification('Security Considerations'),
    title: 'Logging commands without their data are refused',
    why: 'the server would take what is behind the message in its memory for ranges and page sizes',
    async check(world) {
      const wire = await logging(world);
      const begin = fields(64, SET | Feature.DMA_LOGGING_START);
      refused(await wire.request(Command.DEVICE_FEATURE, begin), 'DMA_LOGGING_START without data');
      const missing = fields(64, SET | Feature.DMA_LOGGING_START, 4n * KiB, 2, 0);
      refused(await wire.request(Command.DEVICE_FEATURE, missing), 'DMA_LOGGING_START without its 2 ranges');
      const look = fields(64, GET | Feature.DMA_LOGGING_REPORT);
      refused(await wire.request(Command.DEVICE_FEATURE, look), 'DMA_LOGGING_REPORT without data');
    },
  }),
  serverRule({
    ...{ id: 'logging.dirty-bits', severity: 'must', clause: REPORT, needs: [...needs, 'dma'] },
    title: 'Each page that the device has written shows in its bit, in every page size',
    why: 'a page that is missed is not sent again: the guest goes on with stale memory',
    async check(world) {
      for (const logged of LOGGED) {
        const wire = await logging(world, logged);
        for (const size of REPORTED) {
          await dirty(wire, MARKS);
          const shown = new Set(dirtyPages(await report(wire, BASE, SIZE, size), SIZE, size));
          for (const page of MARKS) {
            const bit = Number((BigInt(page) * 4n * KiB) / size);
            const how = `logged in ${logged} and reported in ${size} bytes`;
            demand(shown.has(bit), `page ${page} was written, and bit ${bit} is 0 (${how})`, '1');
          }
        }
        await feature(wire, SET | Feature.DMA_LOGGING_STOP);
        world.closeWires();
      }
    },
  }),
  serverRule({
    ...{ id: 'logging.clears', severity: 'must', needs: [...needs, 'dma'] },
    clause: uapi('linux/vfio.h, VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT: read and clear'),
    title: 'A report clears what it tells',
    why: 'the guest’s memory would be sent over and over, and the migration never end',
    async check(world) {
      const wire = await logging(world);
      await dirty(wire, [3]);
      await given('a report', async () => worked(await report(wire, BASE, SIZE, 4n * KiB)));
      const again = dirtyPages(await report(wire, BASE, SIZE, 4n * KiB), SIZE, 4n * KiB);
      demand(again.length === 0, `a second report tells ${again.length} dirty pages`, 'none');
    },
  }),
  serverRule({
    ...{ id: 'logging.unmap-bitmap', severity: 'interoperability', needs },
    clause: uapi('linux/vfio.h, VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP'),
    title: 'DMA_UNMAP with flag 1 brings the bitmap of the range, as long as was asked for',
    why: 'what was written before memory is taken away has to be known afterwards',
    async check(world) {
      const wire = await logging(world);
      const size = bitmapSize(SIZE, 4n * KiB);
      const payload = fields(40 + Number(size), DmaUnmapFlag.GET_DIRTY_BITMAP, BASE, SIZE, 4n * KiB, size);
      const reply = await wire.request(Command.DMA_UNMAP, payload);
      if (failed(reply)) notApplicable('DMA_UNMAP takes no flag 1');
      const { length } = reply.payload;
      demand(BigInt(length) === 40n + size, `the reply has ${length} bytes`, `${40n + size}`);
    },
  }),
];
