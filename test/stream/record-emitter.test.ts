import { describe, expect, it } from 'vitest';
import { RecordEmitter } from '../../src/stream/record-emitter.ts';
import { RecordParser } from '../../src/stream/record-parser.ts';
import { forge } from './forge.ts';

describe('RecordEmitter', () => {
  it('emits the preamble and then what it is given, however the targets cut it', () => {
    const records = [
      { type: 2, block: 3, offset: 4096, length: 5, data: Buffer.from('hello') },
      { type: 3, block: 1, offset: 0, length: 8192 },
      { type: 4, length: 0, data: new Uint8Array(0) },
    ] as const;
    const expected = forge(
      records.map((each) => ({
        ...each,
        offset: BigInt('offset' in each ? each.offset : 0),
        length: BigInt(each.length),
      })),
    );
    for (const size of [1, 2, 7, 31, 32, 33, 1000]) {
      const emitter = new RecordEmitter();
      const pieces: Buffer[] = [];
      const flush = () => {
        while (emitter.pending > 0) {
          const target = Buffer.alloc(size);
          pieces.push(target.subarray(0, emitter.emit(target, 0)));
        }
      };
      flush();
      for (const record of records) {
        emitter.begin(record);
        flush();
      }
      expect(Buffer.concat(pieces).equals(expected)).toBe(true);
      expect([emitter.bytes, emitter.records]).toEqual([expected.length, 3]);
    }
  });

  it('takes the checksum over what it emitted, also when the data change in between', () => {
    const data = Buffer.alloc(100, 1);
    const emitter = new RecordEmitter();
    const target = Buffer.alloc(1000);
    let filled = emitter.emit(target, 0);
    emitter.begin({ type: 2, length: data.length, data });
    filled += emitter.emit(target.subarray(0, filled + 82), filled);
    data.fill(2);
    filled += emitter.emit(target, filled);
    const received: Buffer[] = [];
    const parser = new RecordParser({
      begin: () => {},
      data: (bytes) => void received.push(Buffer.from(bytes)),
      end: () => {},
    });
    parser.write(target.subarray(0, filled));
    expect(Buffer.concat(received)).toEqual(Buffer.concat([Buffer.alloc(50, 1), Buffer.alloc(50, 2)]));
    expect(parser.place).toBe('the header of record 2');
  });
});
