/**
 * Why a device is reset: `device`: DEVICE_RESET by a client; `flr`: Initiate FLR of PCI Express by the guest; `power`:
 * D3hot to D0 by the guest, without No_Soft_Reset; `disconnected`: its VMM has gone, and `resetOnDisconnect` asks for
 * it; `resuming`: a state is about to be loaded.
 */
export type ResetReason = 'device' | FunctionResetReason | 'disconnected' | 'resuming';

/** The resets that a guest initiates by a write to the configuration space. */
export type FunctionResetReason = 'flr' | 'power';
