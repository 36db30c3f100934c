import { CHANNEL_ERRORS } from './channel-error.ts';
import { controlMessages } from './control-messages.ts';
import { FrameHeader } from './frame.ts';
import { MIN_WINDOW } from './greeting-rules.ts';
import type { KindDeclaration, KindTail } from './kind.ts';
import type { ChannelFields, ChannelPlace, ChannelStruct } from './layout.ts';
import * as limits from './limits.ts';
import { messages } from './messages.ts';
import { PREFIX_SIZE, SALT_SIZE, SealHeader, TAG_SIZE } from './seal.ts';

/** The whole of docs/channel.md, written from the declarations of this folder. */
export function renderChannelDocs(): string {
  const sections = [
    intro,
    section('Frames', frames, table(layoutColumns, rowsOf(FrameHeader)), flagsOf(FrameHeader), afterHeader),
    section('A connection', connection, ...Object.entries(controlMessages).map(renderKind)),
    section('Order, window, silence, end', order),
    section('Messages', messagesIntro, ...Object.entries(messages).map(renderKind)),
    section('Limits', table(['limit', 'value'], limitRows())),
    section('Carriers', carriers),
    section('Files', files, table(layoutColumns, rowsOf(SealHeader)), sealed),
    section('Errors', table(['code', 'meaning'], errorRows())),
  ];
  return `${sections.join('\n\n')}\n`;
}

const intro = `# The channel

Written from the declarations in \`src/channel\` by \`node scripts/channel-docs.js\`; do not edit.

The stream between the two sides of a migration: the **sender**, which has the state, and the **receiver**, which gets
it. The same frames travel over a UNIX socket, TCP, TLS and into a file. Everything is little-endian and packed.`;

const frames = `A frame is a header and its payload. The header is verified before its length is believed, and the payload before any
of it is delivered.`;

const afterHeader = `Checksums are CRC-32 as in zlib. In the frames of a greeting they begin with the seed 0. In all others they are continued from
a seed that is the CRC-32 of 18 bytes: the id of the session, the number of the connection, and the role of the speaker (1 sender, 2
receiver). A frame of another session, connection or direction is refused like one that was changed.

A payload that is compressed is shorter than \`rawLength\`, decompresses to exactly so many bytes, and is never one of the channel's
own messages. Which way is used follows from the features in the greeting: zstd where both sides have it, otherwise raw DEFLATE.`;

const connection = `Whoever connects sends HELLO on each connection and waits for WELCOME before anything else. FAILURE in the place of WELCOME refuses
the connection and says why. The first connection of a session (\`index\` 0) gets the secret \`token\` of the session in its WELCOME; each
other one has to name it in its HELLO and, under TLS, to come from the holder of the same certificate. A connection that does not
belong to the session is refused, which the session does not notice. The channel exists once all connections are there.`;

const order = `Messages and BYE have a \`sequence\` that counts from 1 in each direction over all connections; on one connection it only
grows. \`place\` counts all frames of one connection and direction, the greeting being 0. A gap in either, or a repetition, ends the
channel.

Each side says in its greeting how many bytes of frames of messages (and BYE), headers included, may be on the way to it on each
connection, at least ${MIN_WINDOW}. CREDIT tells how many have been handled since the beginning. A side reads its connections at all
times, however slow whoever handles the messages is; so signs of life are never stuck behind messages for long, and whoever sends
more than its window is cut off. The windows of all connections together bound what waits to be put in order.

A side that has sent nothing on a connection for a quarter of its limit for silence (10 s unless told otherwise) sends ALIVE. A
connection on which nothing came for that time, or which took nothing for that time, ends the channel, and so does a connection
that is cut: there is no going on with fewer.

BYE is the last message of its direction and counts what was sent; the other side answers with its own BYE and then the first one
hangs up. A connection that ends before that was cut. FAILURE says why a side gives up.`;

const messagesIntro = `What a side may say when is the engine's; who may say it at all, the form and the bounds are checked here. JSON is strict UTF-8
without a byte order mark, bounded in bytes and depth before it is parsed.`;

const carriers = `| carrier | who may connect |
| --- | --- |
| \`unix:PATH\` | the same user: the socket has mode 0600 |
| \`tcp:HOST:PORT\` | whoever is on this machine; anything but a loopback address is refused, on both sides |
| \`tls:HOST:PORT\` | TLS 1.3 with certificates on both sides, from the authorities that were named; the sender checks that the receiver's certificate is for the host that it meant, the receiver may ask for a name too |
| file, pipe | nobody answers: HELLO, messages, BYE |

A listener bounds the connections that have not greeted, the time they may take and the channels at a time, and gives an
unknown connection no more memory than a greeting takes.`;

const files = `A saved stream is what the sender would send on its only connection: HELLO, the messages, BYE, and nothing after it. A file appears
under its name only when it is whole and synced to the disk. A reader delivers each message after it has been verified, and knows
only at the end that the stream is whole.

An encrypted file begins with this, ${SALT_SIZE} bytes of salt, and ${PREFIX_SIZE} bytes of nonce:`;

const sealed = `Then come chunks, each followed by a tag of ${TAG_SIZE} bytes: AES-256-GCM in the STREAM construction. The nonce of a chunk is the ${PREFIX_SIZE} bytes,
the number of the chunk as big-endian u32, and 1 for the last chunk or 0. Everything before the first chunk is authenticated with each.
All chunks but the last are full. So a file that was shortened, reordered or put together from two is refused like one that was
changed. The key is scrypt of the passphrase (UTF-8, NFC) and the salt, or HKDF-SHA256 of the key file and the salt with the info
\`ferry saved state 1\`.`;

const layoutColumns = ['offset', 'size', 'field', 'type', 'meaning'];

function rowsOf({ places }: ChannelStruct<ChannelFields>, sign = ''): readonly (readonly string[])[] {
  return places.map(({ name, offset, field }) => [
    `${sign}${offset}`,
    String(field.size),
    name,
    field.type,
    field.doc,
  ]);
}

function flagsOf({ places }: { readonly places: readonly ChannelPlace[] }): string {
  return places
    .flatMap(({ name, field }) =>
      field.flags === undefined
        ? []
        : field.flags.bits.map((bit) => `- \`${name}\` 0x${bit.value.toString(16)} ${bit.name}: ${bit.doc}`),
    )
    .join('\n');
}

const SPEAKERS = { sender: 'Sender to receiver.', receiver: 'Receiver to sender.', both: 'Both directions.' };

function renderKind([name, { number, from, doc, fixed, tail }]: [string, KindDeclaration]): string {
  const rows = [...rowsOf(fixed), ...tailRows(fixed.size, tail)];
  return block(
    `### ${name} (${number})`,
    `${SPEAKERS[from]} ${doc}${rows.length === 0 ? ' Empty.' : ''}`,
    rows.length === 0 ? '' : table(layoutColumns, rows),
    flagsOf(fixed),
  );
}

function tailRows(at: number, tail: KindTail): readonly (readonly string[])[] {
  const row = (name: string, type: string, doc: string) => [String(at), 'rest', name, type, doc];
  switch (tail.tail) {
    case 'none':
      return [];
    case 'body':
      return [row('body', 'bytes', `${tail.doc}, at most ${tail.maxBytes} bytes`)];
    case 'json':
      return [row(tail.name, 'JSON', `${tail.doc}; at most ${tail.maxBytes} bytes, ${tail.maxDepth} deep`)];
    case 'text':
      return [row(tail.name, 'UTF-8', `${tail.doc}; at most ${tail.maxBytes} bytes`)];
    case 'rows':
      return [
        row(tail.name, `rows of ${tail.row.size}`, `${tail.doc}; at most ${tail.maxRows}`),
        ...rowsOf(tail.row, '+'),
      ];
  }
}

function limitRows(): readonly (readonly string[])[] {
  return Object.entries(limits)
    .filter(([name]) => name !== 'CHANNEL_VERSION')
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => [`\`${name}\``, String(value)]);
}

function errorRows(): readonly (readonly string[])[] {
  return Object.entries(CHANNEL_ERRORS).map(([code, { doc }]) => [`\`${code}\``, doc]);
}

function table(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(columns), line(columns.map(() => '---')), ...rows.map(line)].join('\n');
}

function section(title: string, ...parts: readonly string[]): string {
  return block(`## ${title}`, ...parts);
}

/** Paragraphs, the empty ones left out. */
function block(...parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join('\n\n');
}
