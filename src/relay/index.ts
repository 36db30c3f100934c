export { FD_KINDS, type FdFacts, type FdKind, fdFactsOf } from './fd-facts.ts';
export { type FlowTotals, Relay, type RelayOptions } from './relay.ts';
export { type RelayedConnection, type RelayListenerOptions, relayListener } from './relay-listener.ts';
export type { FlowEnd, RelayTap } from './relay-tap.ts';
export { across, type Side } from './side.ts';
export { DEFAULT_SPIN_US, Spin } from './spin.ts';
