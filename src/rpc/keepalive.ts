import type { ChannelOptions } from '@grpc/grpc-js';

/**
 * How a side of a connection finds out that the other is gone without a word, as when a machine loses its power or a
 * firewall forgets the connection. Milliseconds.
 */
export interface Keepalive {
  /** Between an answer and the next question. */
  readonly every: number;
  /** Without an answer, the connection is cut. */
  readonly timeout: number;
}

/** A peer that is gone holds its connection for 30 s at most. */
const usual: Keepalive = { every: 20_000, timeout: 10_000 };

/** For both sides: HTTP/2's PING. A client asks only while a call is under way, which for a worker is always. */
export function keepaliveOptions({ every, timeout }: Keepalive = usual): ChannelOptions {
  return { 'grpc.keepalive_time_ms': every, 'grpc.keepalive_timeout_ms': timeout };
}
