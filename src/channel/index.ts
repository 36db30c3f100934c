export type {
  Carrier,
  Channel,
  ChannelEnd,
  ChannelPeer,
  ChannelStatistics,
  ConnectionStatistics,
  Greeting,
  MessageHandler,
} from './channel.ts';
export { CHANNEL_ERRORS, ChannelError, type ChannelErrorCode } from './channel-error.ts';
export type { ChannelIdentity, ChannelTuning } from './channel-options.ts';
export type { CompressionMode } from './compression-policy.ts';
export { type ConnectOptions, connectChannel } from './connect.ts';
export { type Endpoint, parseEndpoint, printEndpoint } from './endpoint.ts';
export { fileSink, type Sink, streamSink } from './file-sink.ts';
export { fileSource, type Source, streamSource } from './file-source.ts';
export type { ChannelRole } from './kind.ts';
export { NO_ID } from './layout.ts';
export * from './limits.ts';
export { type ChannelListener, type ChannelListenOptions, listenForChannels } from './listen.ts';
export { type MemoryPair, type MemoryPairOptions, memoryPair } from './memory-pair.ts';
export { describeChannelMessage } from './message-codec.ts';
export { type Message, type MessageKind, type MessageOf, messages, WithheldAction } from './messages.ts';
export { readSaved, type SavedSummary } from './saved-stream.ts';
export { type SavingOptions, saveTo } from './saving-channel.ts';
export { MIN_KEY_BYTES, type SealKey } from './seal.ts';
export { openedSource, sealedSink } from './sealed-file.ts';
export { makeTestCertificates, readTlsIdentity, type TestCertificates } from './test-ca.ts';
export type { TlsIdentity } from './tls-identity.ts';
