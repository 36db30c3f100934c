import { errnoName } from '../errors/index.ts';
import { Command, commandName } from './commands.ts';
import { deviceFeature, FEATURE_MASK, FeatureFlag, FeatureHead } from './feature.ts';
import { featureOf } from './features.ts';
import { type Header, HeaderFlag, isCommand, isReply } from './header.ts';
import { messageOf } from './messages.ts';
import { ProtocolError } from './protocol-error.ts';
import { printBytes } from './tails.ts';

/**
 * One line that says what a message is, with the wire's field names and flags, states and errno values by name:
 * `DMA_MAP request 2: argsz=32 flags=READ|WRITE offset=0xc0000 address=0xc0000 size=0x1ff40000, 1 fd`. `payload` is
 * what follows the header. Never throws: a message that cannot be decoded is shown with the reason and its bytes.
 */
export function describeMessage(header: Header, payload: Uint8Array, fds = 0): string {
  const notes = [
    (header.flags & HeaderFlag.NO_REPLY) === 0 ? '' : 'no reply wanted',
    fds === 0 ? '' : `${fds} fd${fds === 1 ? '' : 's'}`,
  ];
  const what = `${commandName(header.command)} ${directionOf(header)} ${header.messageId}`;
  const content = describeContent(header, payload);
  return [content === '' ? what : `${what}: ${content}`, ...notes.filter((note) => note !== '')].join(', ');
}

function directionOf(header: Header): string {
  if (isCommand(header.flags)) return 'request';
  return isReply(header.flags) ? 'reply' : `type ${header.flags & HeaderFlag.TYPE_MASK}`;
}

function describeContent(header: Header, payload: Uint8Array): string {
  const reply = isReply(header.flags);
  if (reply && (header.flags & HeaderFlag.ERROR) !== 0) {
    const error =
      header.error === 0 ? 'failed without an errno' : `${errnoName(header.error)} (${header.error})`;
    return payload.length === 0 ? error : `${error} with ${payload.length} bytes`;
  }
  const declared = messageOf(header.command);
  if (declared === undefined) return printBytes(payload);
  try {
    if (header.command === Command.DEVICE_FEATURE) return describeFeature(payload, reply);
    return (reply ? declared.reply : declared.request).describe(payload);
  } catch (error) {
    if (error instanceof ProtocolError) return `malformed, ${error.message} [${printBytes(payload)}]`;
    throw error;
  }
}

/** The data of a feature by its own declaration, where there is any. */
function describeFeature(payload: Uint8Array, reply: boolean): string {
  const { data, ...head } = (reply ? deviceFeature.reply : deviceFeature.request).decode(payload);
  const feature = featureOf(head.flags & FEATURE_MASK);
  const isGet = (head.flags & FeatureFlag.GET) !== 0;
  const method = (isGet ? feature?.get : feature?.set) ?? null;
  const probe = (head.flags & FeatureFlag.PROBE) !== 0;
  const declared = probe || method === null ? null : reply ? method.reply : method.request;
  const fixed = FeatureHead.print(head);
  if (declared !== null && data.length > 0) return `${fixed} ${declared.describe(data)}`;
  return data.length === 0 ? fixed : `${fixed} data=${printBytes(data)}`;
}
