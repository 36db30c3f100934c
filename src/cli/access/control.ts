import { DeviceClient, findControlSocket } from '../../client/index.ts';

/** Connects to the control socket of a server, given either of its sockets; to the main one when it has no other. */
export function connectControl(path: string, timeoutMs?: number): Promise<DeviceClient> {
  return DeviceClient.connect(findControlSocket(path), timeoutMs === undefined ? {} : { timeoutMs });
}

/** Calls `use` with a client on a server's control socket, and closes it whatever happens. */
export async function withControl<T>(path: string, use: (client: DeviceClient) => Promise<T>): Promise<T> {
  const client = await connectControl(path);
  try {
    return await use(client);
  } finally {
    client.close();
  }
}
