import {
  fileSink,
  fileSource,
  openedSource,
  type Sink,
  type Source,
  sealedSink,
  streamSink,
  streamSource,
} from '../../channel/index.ts';
import { type KeyOptions, keyOf } from './key-options.ts';

/** Standard input or output. */
export const PIPE = '-';

/** What is to be written: a file that appears when it is whole, or standard output for `-`. */
export async function sinkAt(path: string, options: KeyOptions): Promise<Sink> {
  const key = await keyOf(options);
  const sink = path === PIPE ? streamSink(process.stdout, 'standard output') : await fileSink(path);
  return key === null ? sink : sealedSink(sink, key);
}

/** What was saved: a file, or standard input for `-`. The caller closes it. */
export async function sourceAt(path: string, options: KeyOptions): Promise<Source> {
  const key = await keyOf(options);
  const source = path === PIPE ? streamSource(process.stdin, 'standard input') : await fileSource(path);
  try {
    return await openedSource(source, key);
  } catch (error) {
    await source.close();
    throw error;
  }
}
