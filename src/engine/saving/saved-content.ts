import {
  type Message,
  type MessageHandler,
  type MessageOf,
  readSaved,
  type SavedSummary,
  type Source,
} from '../../channel/index.ts';
import { type Manifest, manifestFromJson } from '../preflight/manifest.ts';
import { StepError } from '../step-error.ts';

/** One device of a saved group. */
export interface SavedDevice {
  /** What it was called where it was saved. */
  readonly name: string;
  /** Bytes of its state. */
  readonly bytes: number;
  /** Bytes of its configuration space, as often as they are in it. */
  readonly configurationBytes: number;
}

/** What a saved stream holds, all of it verified. */
export interface SavedContent {
  readonly summary: SavedSummary;
  readonly manifest: Manifest;
  readonly devices: readonly SavedDevice[];
  /** Bytes of guest memory, without pages that are zero. */
  readonly memoryBytes: number;
}

/**
 * Reads a saved stream to its end and tells what is in it. Rejects with ChannelError for anything in it that is not as
 * it was written, and with StepError when it is no saved device.
 */
export async function readSavedContent(source: Source): Promise<SavedContent> {
  const counts = new Map<number, { bytes: number; configurationBytes: number }>();
  let memoryBytes = 0;
  const { summary, manifest } = await readSavedDevices(source, (message, body) => {
    if (message.kind === 'MEMORY') memoryBytes += body.length;
    if (message.kind !== 'DATA' && message.kind !== 'CONFIG') return;
    const count = counts.get(message.device) ?? { bytes: 0, configurationBytes: 0 };
    if (message.kind === 'DATA') count.bytes += body.length;
    else count.configurationBytes += body.length;
    counts.set(message.device, count);
  });
  const devices = manifest.devices.map(({ name }, i) => ({
    name,
    ...(counts.get(i) ?? { bytes: 0, configurationBytes: 0 }),
  }));
  return { summary, manifest, devices, memoryBytes };
}

/** What {@link readSavedDevices} has read. */
export interface SavedDevices {
  readonly summary: SavedSummary;
  readonly manifest: Manifest;
  readonly complete: MessageOf<'COMPLETE'>;
}

/**
 * Reads a saved stream and hands out what lies between its manifest, which comes first, and its COMPLETE, which comes
 * last. Nothing is certain before it resolves.
 */
export async function readSavedDevices(
  source: Source,
  content: MessageHandler,
  opened: (manifest: Manifest) => void | Promise<void> = () => {},
): Promise<SavedDevices> {
  let manifest: Manifest | null = null;
  let complete: MessageOf<'COMPLETE'> | null = null;
  const summary = await readSaved(source, async (message, body) => {
    if (complete !== null) throw misplaced(source, message);
    if (manifest === null) {
      manifest = message.kind === 'MANIFEST' ? manifestFromJson(message.manifest) : null;
      if (manifest === null) throw misplaced(source, message);
      return opened(manifest);
    }
    if (message.kind === 'COMPLETE') complete = message;
    else if (isContent(message)) await content(message, body);
    else throw misplaced(source, message);
  });
  return { summary, ...required(source, manifest, complete) };
}

function required(source: Source, manifest: Manifest | null, complete: MessageOf<'COMPLETE'> | null) {
  if (manifest === null || complete === null) throw notSaved(source, 'the devices in it are not complete');
  return { manifest, complete };
}

function isContent({ kind }: Message): boolean {
  return kind === 'DATA' || kind === 'CONFIG' || kind === 'ACTIONS' || kind === 'MEMORY' || kind === 'ZERO';
}

function misplaced(source: Source, { kind }: Message): StepError {
  return notSaved(source, `${kind} is not expected there`);
}

function notSaved({ name }: Source, why: string): StepError {
  return new StepError('ERR_PEER_PROTOCOL', 'source', `${name} holds no saved devices: ${why}`);
}
