import type { Answer, Mode } from './answer.ts';
import { claimStatus, claimWith, forceRelease } from './claim.ts';
import type { ClaimStatus } from './claim-status.ts';
import type { PrecopyInfo } from './descriptions.ts';
import { DeviceAccess } from './device-access.ts';
import type { DeviceMethods, DmaRange } from './device-methods.ts';
import { dmaLog, startDmaLogging, stopDmaLogging } from './dma-logging.ts';
import { probeFeature } from './feature.ts';
import { readMigrationData } from './migration-data.ts';
import { MigrationDataWriter } from './migration-data-writer.ts';
import { migrationDataSize, migrationFlags, migrationState, setMigrationState } from './migration-state.ts';
import { type ReconnectionChoice, type ReconnectionStatus, reconnection } from './reconnection.ts';
import { inspectServer, precopyInfo } from './server-inspection.ts';
import type { Session } from './session.ts';
import { type SwitchoverRequest, type SwitchoverStatus, switchover } from './switchover.ts';

/** The methods of both clients: what a driver has of a device, and what whoever moves it has. */
export abstract class DeviceBase<M extends Mode> extends DeviceAccess<M> implements DeviceMethods<M> {
  readonly #writer: MigrationDataWriter;

  protected constructor(session: Session) {
    super(session);
    const { link, limits } = session;
    this.#writer = new MigrationDataWriter(link.requester, limits.write, limits.writesInFlight);
  }

  probeFeature(feature: number, methods: number): Answer<M, boolean> {
    return this.run(probeFeature(feature, methods));
  }

  migrationFlags(): Answer<M, bigint | null> {
    return this.run(migrationFlags());
  }

  migrationState(): Answer<M, number> {
    return this.run(migrationState());
  }

  setMigrationState(state: number): Answer<M, void> {
    return this.run(setMigrationState(state));
  }

  migrationDataSize(): Answer<M, bigint | null> {
    return this.run(migrationDataSize());
  }

  precopyInfo(): Answer<M, PrecopyInfo | null> {
    return this.run(precopyInfo(this.agreement));
  }

  claimStatus(): Answer<M, ClaimStatus | null> {
    return this.run(claimStatus(this.agreement));
  }

  claim(token: Uint8Array, epoch: bigint): Answer<M, ClaimStatus> {
    return this.run(claimWith(this.agreement, 'CLAIM', token, epoch));
  }

  retire(token: Uint8Array, epoch: bigint): Answer<M, ClaimStatus> {
    return this.run(claimWith(this.agreement, 'RETIRE', token, epoch));
  }

  release(token: Uint8Array, epoch: bigint): Answer<M, ClaimStatus> {
    return this.run(claimWith(this.agreement, 'RELEASE', token, epoch));
  }

  forceRelease(epoch: bigint): Answer<M, ClaimStatus> {
    return this.run(forceRelease(this.agreement, epoch));
  }

  reconnection(choice: ReconnectionChoice | null): Answer<M, ReconnectionStatus> {
    return this.run(reconnection(this.agreement, choice));
  }

  switchover(request: SwitchoverRequest): Answer<M, SwitchoverStatus> {
    return this.run(switchover(this.agreement, request));
  }

  inspectServer(): Answer<M, unknown> {
    return this.run(inspectServer(this.agreement, this.session.limits));
  }

  readMigrationData(maxBytes: number, consume: (chunk: Uint8Array) => void): Answer<M, number> {
    return this.run(readMigrationData(this.session.limits, maxBytes, consume));
  }

  readMigrationDataInto(target: Uint8Array): Answer<M, number> {
    return this.readMigrationData(target.length, (chunk) => target.set(chunk));
  }

  writeMigrationData(bytes: Uint8Array): Answer<M, void> {
    return this.answer<void>((settle) => this.#writer.write(bytes, settle));
  }

  startDmaLogging(pageSize: bigint, ranges: readonly DmaRange[]): Answer<M, bigint> {
    return this.run(startDmaLogging(pageSize, ranges));
  }

  stopDmaLogging(): Answer<M, void> {
    return this.run(stopDmaLogging());
  }

  dmaLog(iova: bigint, length: bigint, pageSize: bigint): Answer<M, Uint8Array> {
    return this.run(dmaLog(this.session.limits, iova, length, pageSize));
  }
}
