import { Errno } from '../errors/index.ts';
import { Command, MigrationData, migDataRead, ProtocolError } from '../protocol/index.ts';
import type { IncomingMessage } from '../transport/index.ts';
import { ClientError } from './client-error.ts';
import type { Operation, Request } from './operation.ts';
import { RemoteError } from './remote-error.ts';
import type { TransferLimits } from './transfer-limits.ts';

/**
 * One MIG_DATA_READ. `consume` gets the bytes in place. Returns their number; 0 is the end, in PRE_COPY for now. The
 * size field alone is trusted: libvfio-user pads every reply to the size that was asked for.
 */
export function* readMigrationData(
  limits: TransferLimits,
  maxBytes: number,
  consume: (chunk: Uint8Array) => void,
): Operation<number> {
  if (!Number.isSafeInteger(maxBytes) || maxBytes <= 0) {
    throw new ClientError('ERR_CLIENT_ARGUMENT', `${maxBytes} is no number of bytes to read`, { maxBytes });
  }
  const size = Math.min(maxBytes, limits.read);
  const payload = migDataRead.request.encode({ argsz: MigrationData.size + size, size });
  let reply: IncomingMessage;
  try {
    reply = yield { command: Command.MIG_DATA_READ, payload };
  } catch (error) {
    if (isEndForNow(error)) return 0;
    throw error;
  }
  const { data } = migDataRead.reply.decode(reply.payload());
  if (data.length > size) throw tooMuch(size, data.length);
  if (data.length > 0) consume(data);
  return data.length;
}

/** In PRE_COPY the kernel's drivers say ENOMSG instead of 0 bytes (linux/vfio.h), and a bridge may pass that on. */
function isEndForNow(error: unknown): boolean {
  return error instanceof RemoteError && error.errno === Errno.ENOMSG;
}

function tooMuch(asked: number, answered: number): ProtocolError {
  return new ProtocolError(`MIG_DATA_READ reply: ${answered} bytes, ${asked} were asked for`, {
    context: { message: 'MIG_DATA_READ reply', field: 'size', asked, answered },
  });
}

/** A MIG_DATA_WRITE of `data`, which is no longer than a message may be. */
export function migrationWrite(data: Uint8Array): Request {
  const payload = new Uint8Array(MigrationData.size);
  const head = { argsz: MigrationData.size + data.length, size: data.length };
  MigrationData.write(new DataView(payload.buffer), 0, head);
  return { command: Command.MIG_DATA_WRITE, payload, body: data };
}
