import { codecOf, type Decoded } from './codec.ts';
import { type Message, messages } from './messages.ts';

/** Encoder, decoder and printer of {@link messages}. */
export const messageCodec = codecOf(messages);

/** A message as it arrived. */
export type DecodedMessage = Decoded<Message>;

/** One line that says what a message is: `DATA device=0, 4096 bytes`. */
export const describeChannelMessage = messageCodec.describe;
