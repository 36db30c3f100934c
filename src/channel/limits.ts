/** The version of the channel's format. Another one is refused. */
export const CHANNEL_VERSION = 1;

/** The most bytes that the body of one message may have. */
export const MAX_BODY = 1024 * 1024;

/** The most bytes that the JSON of one message may have, unless its kind says less. */
export const MAX_JSON = 256 * 1024;

/** How deep JSON may nest, unless its kind says less. */
export const MAX_JSON_DEPTH = 12;

/** The most rows in the table of one message, unless its kind says less. */
export const MAX_ROWS = 1024;

/** Room for the fixed part of a message, in bytes; a test holds every kind to it. */
export const MAX_FIXED = 256;

/** The most bytes of a frame after its header. */
export const MAX_PAYLOAD = MAX_FIXED + MAX_BODY;

/** The most bytes of the text that goes with a failure. */
export const MAX_FAILURE_TEXT = 1024;

/** The most connections that one channel may spread over. */
export const MAX_CONNECTIONS = 16;

/** The most bytes that wait to be sent before sending more is an error of the caller. */
export const MAX_QUEUED = 64 * 1024 * 1024;
