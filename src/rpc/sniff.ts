import type { Socket } from 'node:net';

/** How every HTTP/2 connection with prior knowledge begins. No HTTP/1 request does: it has no method PRI. */
const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

export type SniffedProtocol = 'http1' | 'http2';

/**
 * Reads the first bytes of a connection until they tell the protocol, puts them back and calls `decided` once. A
 * client that is silent for `timeout` milliseconds is cut off; `decided` is not called then.
 */
export function sniff(socket: Socket, timeout: number, decided: (protocol: SniffedProtocol) => void): void {
  let seen: Buffer = Buffer.alloc(0);
  const timer = setTimeout(() => socket.destroy(), timeout);
  const stop = (): void => {
    clearTimeout(timer);
    socket.off('readable', onReadable);
    socket.off('close', stop);
  };
  const onReadable = (): void => {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) {
      // The end of the stream is readable too: a client that said nothing has nothing to be answered.
      if (socket.readableEnded) socket.destroy();
      return;
    }
    seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
    const protocol = protocolOf(seen);
    if (protocol === undefined) return;
    stop();
    socket.unshift(seen);
    decided(protocol);
  };
  socket.on('readable', onReadable);
  socket.once('close', stop);
}

/** Undefined: not enough bytes yet. */
export function protocolOf(seen: Buffer): SniffedProtocol | undefined {
  const length = Math.min(seen.length, preface.length);
  if (preface.compare(seen, 0, length, 0, length) !== 0) return 'http1';
  return length === preface.length ? 'http2' : undefined;
}
