import { commandName } from './commands.ts';
import { malformed } from './cursor.ts';
import { flags } from './flags.ts';
import { struct, u16, u32, type ValueOfStruct } from './layout.ts';

/** The message type, in the lowest four bits of the header's flags. */
export const MessageType = { COMMAND: 0, REPLY: 1 } as const;

/** Flags of the header (vfio-user.rst, Header). */
export const HeaderFlag = flags(
  { TYPE_MASK: 0xf, NO_REPLY: 0x10, ERROR: 0x20 },
  {
    TYPE_MASK: 'message type: 0 command, 1 reply',
    NO_REPLY: 'in a command: the sender wants no reply, not even an error',
    ERROR: 'in a reply: the command failed; the reply is the header alone',
  },
);

/** The 16 bytes before every message (vfio-user.rst, Header). */
export const Header = struct('header', {
  messageId: u16('chosen by the sender, echoed in the reply, need not be unique'),
  command: u16('the command; the same in the reply', { format: commandName }),
  size: u32('bytes of the whole message, header included'),
  flags: u32('type and flags', { format: printFlags }),
  error: u32('in an error reply a Linux errno, or 0; otherwise 0'),
});

/** The value of a {@link Header}. */
export type Header = ValueOfStruct<typeof Header>;

/** Bytes of the header. */
export const HEADER_SIZE = Header.size;

/** Whether header flags say reply. Any type but command and reply is neither. */
export function isReply(headerFlags: number): boolean {
  return (headerFlags & HeaderFlag.TYPE_MASK) === MessageType.REPLY;
}

/** Whether header flags say command. */
export function isCommand(headerFlags: number): boolean {
  return (headerFlags & HeaderFlag.TYPE_MASK) === MessageType.COMMAND;
}

/** Reads the header at the start of `bytes`; throws ProtocolError EINVAL when there are fewer than 16. */
export function decodeHeader(bytes: Uint8Array): Header {
  if (bytes.length < HEADER_SIZE) {
    throw malformed('header', 'header', 0, `needs ${HEADER_SIZE} bytes, ${bytes.length} came`);
  }
  return Header.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0);
}

/** The bytes of a header. */
export function encodeHeader(header: Header): Uint8Array {
  const bytes = new Uint8Array(HEADER_SIZE);
  Header.write(new DataView(bytes.buffer), 0, header);
  return bytes;
}

function printFlags(value: number): string {
  const type = value & HeaderFlag.TYPE_MASK;
  const kind =
    type === MessageType.COMMAND ? 'COMMAND' : type === MessageType.REPLY ? 'REPLY' : `type ${type}`;
  const rest = (value & ~HeaderFlag.TYPE_MASK) >>> 0;
  return rest === 0 ? kind : `${kind}|${HeaderFlag.print(rest)}`;
}
