import type { ServerRule } from '../server-rule.ts';
import { dataRules } from './data.ts';
import { dataRefusedRules } from './data-refused.ts';
import { deviceDmaRules } from './device-dma.ts';
import { disconnectRules } from './disconnect.ts';
import { dmaRules } from './dma.ts';
import { featureRules } from './feature.ts';
import { framingRules } from './framing.ts';
import { hostileRules } from './hostile.ts';
import { infoRules } from './info.ts';
import { irqRules } from './irq.ts';
import { irqRefusedRules } from './irq-refused.ts';
import { leaksRules } from './leaks.ts';
import { loggingRules } from './logging.ts';
import { moveRules } from './move.ts';
import { negotiationRules } from './negotiation.ts';
import { negotiationRefusedRules } from './negotiation-refused.ts';
import { regionRules } from './region.ts';
import { resetRules } from './reset.ts';
import { statesRules } from './states.ts';
import { streamRules } from './stream.ts';
import { timeoutsRules } from './timeouts.ts';

/** Every rule for servers, in the order in which they are tried: what others build on comes first. */
export const SERVER_RULES: readonly ServerRule[] = [
  ...negotiationRules,
  ...negotiationRefusedRules,
  ...streamRules,
  ...framingRules,
  ...infoRules,
  ...regionRules,
  ...irqRules,
  ...irqRefusedRules,
  ...dmaRules,
  ...deviceDmaRules.filter(({ area }) => area === 'dma'),
  ...deviceDmaRules.filter(({ area }) => area === 'dma-messages'),
  ...featureRules,
  ...loggingRules,
  ...statesRules,
  ...dataRules,
  ...dataRefusedRules,
  ...moveRules,
  ...resetRules,
  ...disconnectRules,
  ...leaksRules,
  ...hostileRules,
  ...timeoutsRules,
];
