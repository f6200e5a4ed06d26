import { type IncomingMessage, request } from 'node:http';
import type { LogEntry } from '../../src/log/log-store.ts';
import type { SlipwayServer } from '../harness/slipway-server.ts';

const pathOf = (repository: string, id: string) => `/api/v1/repository/${repository}/build/${id}/logs`;

/**
 * Reads a log as server-sent events until the stream ends, and checks that positions follow each other without a gap.
 * Resolves to the position after the last entry, and to whether `end` came.
 */
export async function followEvents(
  server: SlipwayServer,
  repository: string,
  id: string,
  take: (entries: readonly LogEntry[]) => void,
  from = 0,
): Promise<{ readonly next: number; readonly ended: boolean }> {
  const response = await server.fetch(`${pathOf(repository, id)}/stream`, {
    headers: from === 0 ? {} : { 'last-event-id': String(from) },
  });
  if (!response.ok || response.body === null)
    throw new Error(`stream: ${response.status} ${await response.text()}`);
  const decoder = new TextDecoder();
  let held = '';
  let next = from;
  let ended = false;
  for await (const chunk of response.body) {
    held += decoder.decode(chunk, { stream: true });
    const blocks = held.split('\n\n');
    held = blocks.pop() ?? '';
    for (const block of blocks) {
      const event = fieldsOf(block);
      if (event.get('event') === 'end') ended = true;
      if (event.get('event') !== 'log') continue;
      const { start, logs } = JSON.parse(event.get('data') ?? '') as { start: number; logs: LogEntry[] };
      if (start !== next) throw new Error(`entry ${next} should follow, ${start} came`);
      next += logs.length;
      if (event.get('id') !== String(next))
        throw new Error(`the id should be ${next}, not ${event.get('id')}`);
      take(logs);
    }
  }
  return { next, ended };
}

function fieldsOf(block: string): Map<string, string> {
  return new Map(
    block.split('\n').map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon), line.slice(colon + 2)];
    }),
  );
}

/** As `followEvents`, with all entries and when each came, in milliseconds since 1970. */
export async function readEvents(
  server: SlipwayServer,
  repository: string,
  id: string,
  from = 0,
): Promise<{ readonly entries: LogEntry[]; readonly times: number[]; readonly ended: boolean }> {
  const entries: LogEntry[] = [];
  const times: number[] = [];
  const take = (more: readonly LogEntry[]) => {
    for (const entry of more) {
      entries.push(entry);
      times.push(Date.now());
    }
  };
  const { ended } = await followEvents(server, repository, id, take, from);
  return { entries, times, ended };
}

export async function download(server: SlipwayServer, repository: string, id: string): Promise<Buffer> {
  const response = await server.fetch(`${pathOf(repository, id)}/download`);
  if (!response.ok) throw new Error(`download: ${response.status} ${await response.text()}`);
  return Buffer.from(await response.arrayBuffer());
}

/** The text that entries stand for: as the download has it, where that is UTF-8. */
export function textOf(entries: readonly LogEntry[]): string {
  return entries.map(({ message, data }) => (data?.partial === true ? message : `${message}\n`)).join('');
}

/** A reader that connects and takes nothing; end it with `destroy`. */
export async function stuckReader(
  server: SlipwayServer,
  repository: string,
  id: string,
): Promise<IncomingMessage> {
  const outgoing = request(new URL(`${pathOf(repository, id)}/stream`, server.url), {
    headers: { authorization: `Bearer ${server.token}` },
  });
  outgoing.end();
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.once('response', resolve);
    outgoing.once('error', reject);
  });
  response.on('error', () => {});
  return response.pause();
}
