import { struct } from './layout.ts';
import { payload } from './payload.ts';

const nothing = struct('nothing', {});

/**
 * Declares a payload without content. It is sent empty; what a peer puts there is ignored, as libvfio-user ignores
 * the payload of DEVICE_RESET and QEMU that of a DMA_MAP reply.
 */
export const empty = (label: string) => payload(label, { fixed: nothing, trailing: 'tolerated' });
