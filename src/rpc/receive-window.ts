import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Http2Session, ServerHttp2Stream } from 'node:http2';

/** Bytes a worker may send ahead of what was read: two log batches. As much may have to be held for each of its streams. */
const receiveWindow = 2 * 1024 * 1024;

const channel = 'http2.server.stream.created';

/**
 * Widens HTTP/2's receive windows of every server session of this process, from their 64 KiB: with those a log batch
 * needs several round trips, and both sides mostly wait. grpc-js has no such setting for servers, so the session is
 * met at its first stream. The returned function ends it.
 */
export function widenReceiveWindows(): () => void {
  const known = new WeakSet<Http2Session>();
  const onStream = (message: unknown): void => {
    const { session } = (message as { readonly stream: ServerHttp2Stream }).stream;
    if (session === undefined || session.destroyed || known.has(session)) return;
    known.add(session);
    session.setLocalWindowSize(receiveWindow);
    session.settings({ initialWindowSize: receiveWindow });
  };
  subscribe(channel, onStream);
  return () => void unsubscribe(channel, onStream);
}
