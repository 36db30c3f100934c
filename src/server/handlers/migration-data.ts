import { MigrationData, migDataRead, migDataWrite } from '../../protocol/index.ts';
import type { IncomingMessage } from '../../transport/index.ts';
import type { ServedConnection } from '../served-connection.ts';
import { ServerError } from '../server-error.ts';
import { acknowledge, requireDriver, requireV2 } from './handler.ts';

/** MIG_DATA_READ: the device lends its bytes or writes them straight into the reply. Never short before the end; 0 is the end. */
export function handleMigrationRead(served: ServedConnection, message: IncomingMessage): boolean {
  const { size } = migDataRead.request.decode(message.payload(), message.fds.length);
  requireV2(served);
  requireTransfer(served, size);
  requireDriver(served);
  // Nobody would get what is taken out of the session.
  if (message.noReply) return true;
  const { connection, server } = served;
  const lent = server.migration.view(size, served);
  if (lent !== null) return replyWith(served, message, lent);
  const at = connection.reply(message, MigrationData.size + size);
  if (at < 0) return true;
  const { out } = connection;
  const data = out.bytes.subarray(at + MigrationData.size, at + MigrationData.size + size);
  const count = server.migration.read(data, served);
  out.shrink(size - count);
  MigrationData.write(out.view, at, { argsz: MigrationData.size + count, size: count });
  return true;
}

/** Sends the device's own bytes, without a copy if the socket takes them at once. */
function replyWith({ connection }: ServedConnection, message: IncomingMessage, data: Uint8Array): true {
  const at = connection.reply(message, MigrationData.size);
  if (at < 0) return true;
  MigrationData.write(connection.out.view, at, {
    argsz: MigrationData.size + data.length,
    size: data.length,
  });
  connection.sendBody(data);
  return true;
}

/** MIG_DATA_WRITE: straight from the receive buffer into the device, which verifies it as it comes. */
export function handleMigrationWrite(served: ServedConnection, message: IncomingMessage): boolean {
  const { size, data } = migDataWrite.request.decode(message.payload(), message.fds.length);
  requireV2(served);
  requireTransfer(served, size);
  requireDriver(served);
  served.server.migration.write(data, served);
  acknowledge(served, message);
  return true;
}

function requireTransfer(served: ServedConnection, size: number): void {
  if (size <= served.maxTransfer) return;
  throw new ServerError('ERR_TOO_LONG', `${size} bytes are more than max_data_xfer_size`, { size });
}
