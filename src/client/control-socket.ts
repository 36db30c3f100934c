import { statSync } from 'node:fs';
import { CONTROL_SUFFIX } from '../protocol/index.ts';

/**
 * The control socket of the server that `path` belongs to, given either of its two sockets. A server without a control
 * socket (any but Ferry's) takes all commands on its main socket, whose path is then returned.
 */
export function findControlSocket(path: string): string {
  if (path.endsWith(CONTROL_SUFFIX)) return path;
  const control = `${path}${CONTROL_SUFFIX}`;
  return statSync(control, { throwIfNoEntry: false })?.isSocket() === true ? control : path;
}
