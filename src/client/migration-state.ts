import {
  Feature,
  FeatureDataSize,
  FeatureDeviceState,
  FeatureMigration,
  features,
  ProtocolError,
} from '../protocol/index.ts';
import { stateName } from '../states/index.ts';
import { getFeature, isLacking, setFeature } from './feature.ts';
import { MigrationStateError } from './migration-state-error.ts';
import type { Operation } from './operation.ts';
import { RemoteError } from './remote-error.ts';

/** The text: data_fd is unused, sent as -1 and ignored. */
const NO_FD = -1;

/** MigrationFlag bits, or null when the device does not support migration. */
export function* migrationFlags(): Operation<bigint | null> {
  try {
    const data = yield* getFeature(Feature.MIGRATION, FeatureMigration.size);
    return features.MIGRATION.get.reply.decode(data).flags;
  } catch (error) {
    if (isLacking(error)) return null;
    throw error;
  }
}

/** The number of the present state; one that this version does not know is no error. */
export function* migrationState(): Operation<number> {
  const data = yield* getFeature(Feature.MIG_DEVICE_STATE, FeatureDeviceState.size);
  return features.MIG_DEVICE_STATE.get.reply.decode(data).deviceState;
}

/** The present state, or null when the server refuses to tell. */
export function* migrationStateIfKnown(): Operation<number | null> {
  try {
    return yield* migrationState();
  } catch (error) {
    if (error instanceof RemoteError) return null;
    throw error;
  }
}

/** Takes the device to a state; when it fails, reads back where it has got to. */
export function* setMigrationState(state: number): Operation<void> {
  const data = features.MIG_DEVICE_STATE.set.request.encode({ deviceState: state, dataFd: NO_FD });
  let answer: Uint8Array;
  try {
    answer = yield* setFeature(Feature.MIG_DEVICE_STATE, data);
  } catch (error) {
    if (!(error instanceof RemoteError)) throw error;
    throw new MigrationStateError(state, yield* migrationStateIfKnown(), error);
  }
  const { deviceState } = features.MIG_DEVICE_STATE.set.reply.decode(answer);
  if (deviceState !== state) throw otherState(state, deviceState);
}

/** What stop-copy would transfer, in bytes; null when the server does not have the feature. */
export function* migrationDataSize(): Operation<bigint | null> {
  try {
    const data = yield* getFeature(Feature.MIG_DATA_SIZE, FeatureDataSize.size);
    return features.MIG_DATA_SIZE.get.reply.decode(data).stopCopyLength;
  } catch (error) {
    if (isLacking(error)) return null;
    throw error;
  }
}

function otherState(asked: number, answered: number): ProtocolError {
  const message = `MIG_DEVICE_STATE reply: ${stateName(answered)} instead of ${stateName(asked)}`;
  return new ProtocolError(message, {
    context: { message: 'MIG_DEVICE_STATE reply', field: 'device_state', asked, answered },
  });
}
