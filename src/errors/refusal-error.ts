import { FerryError } from './ferry-error.ts';

/**
 * Whoever has the device, a server or a kernel, has answered a request with an errno: it was understood, and refused.
 * All other errors say that there was no such answer.
 */
export abstract class RefusalError extends FerryError {}
