import { check, type Native } from '../native/index.ts';
import { negotiate, OUR_CAPABILITIES, PROTOCOL_MAJOR, PROTOCOL_MINOR } from '../protocol/index.ts';
import type { DeviceServer, ServedConnection } from '../server/index.ts';

/** A control connection of this process to its own server, in whose name its device is stopped and loaded. */
export class OwnConnection {
  /** The end that is served. */
  readonly served: ServedConnection;
  readonly #native: Native;
  readonly #spare: number;

  /** Throws NativeError. */
  constructor(server: DeviceServer) {
    const pair = new Int32Array(2);
    this.#native = server.native;
    check(server.native.socketpair(pair), 'socketpair');
    const [own = -1, spare = -1] = pair;
    this.#spare = spare;
    this.served = server.accept(own, 'control');
    const version = { major: PROTOCOL_MAJOR, minor: PROTOCOL_MINOR, capabilities: OUR_CAPABILITIES };
    this.served.welcome(negotiate(version, OUR_CAPABILITIES).agreed);
  }

  /** Ends it. */
  close(): void {
    this.served.connection.close();
    this.#native.close(this.#spare);
  }
}
