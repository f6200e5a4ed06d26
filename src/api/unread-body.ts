import type { IncomingMessage } from 'node:http';

/** Milliseconds a client may go on sending what nobody wants any more. */
const patience = 2_000;

/** Lets a client that still sends a body find its answer, but not send for ever. */
export function discardBody(incoming: IncomingMessage): void {
  if (incoming.complete || incoming.destroyed) return;
  const timer = setTimeout(() => incoming.socket.destroy(), patience);
  timer.unref();
  incoming.once('end', () => clearTimeout(timer));
  incoming.once('close', () => clearTimeout(timer));
  incoming.resume();
}
