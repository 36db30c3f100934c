import {
  bitmapSize,
  Feature,
  FeatureHead,
  features,
  LoggingReport,
  ProtocolError,
} from '../protocol/index.ts';
import type { DmaRange } from './device-methods.ts';
import { getFeature, setFeature } from './feature.ts';
import { requireBitmapFits } from './memory-mapping.ts';
import type { Operation } from './operation.ts';
import type { TransferLimits } from './transfer-limits.ts';

const { DMA_LOGGING_START, DMA_LOGGING_STOP, DMA_LOGGING_REPORT } = features;

/** DMA_LOGGING_START; returns the page size that the server has chosen. */
export function* startDmaLogging(pageSize: bigint, ranges: readonly DmaRange[]): Operation<bigint> {
  const data = DMA_LOGGING_START.set.request.encode({ pageSize, ranges });
  const answer = yield* setFeature(Feature.DMA_LOGGING_START, data);
  return DMA_LOGGING_START.set.reply.decode(answer).pageSize;
}

/** DMA_LOGGING_STOP. */
export function* stopDmaLogging(): Operation<void> {
  yield* setFeature(Feature.DMA_LOGGING_STOP, DMA_LOGGING_STOP.set.request.encode({}));
}

/** DMA_LOGGING_REPORT: the bitmap of the range. */
export function* dmaLog(
  limits: TransferLimits,
  iova: bigint,
  length: bigint,
  pageSize: bigint,
): Operation<Uint8Array> {
  const data = DMA_LOGGING_REPORT.get.request.encode({ iova, length, pageSize });
  const size = LoggingReport.size + Number(bitmapSize(length, pageSize));
  requireBitmapFits(FeatureHead.size + size, limits);
  const answer = yield* getFeature(Feature.DMA_LOGGING_REPORT, size, data);
  const report = DMA_LOGGING_REPORT.get.reply.decode(answer);
  if (report.iova !== iova || report.length !== length || report.pageSize !== pageSize) {
    throw new ProtocolError('DMA_LOGGING_REPORT reply: it is about another range than was asked for', {
      context: { message: 'DMA_LOGGING_REPORT reply', field: 'iova', asked: iova, answered: report.iova },
    });
  }
  return report.bitmap.slice();
}
