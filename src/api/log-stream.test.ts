import { request as httpRequest } from 'node:http';
import { afterEach, expect, test } from 'vitest';
import { type ApiHarness, startApiServer } from '../../test/harness/api-server.ts';
import { ManualClock } from '../base/clock.ts';
import type { BuildId } from '../model/ids.ts';
import { Metrics } from '../telemetry/metrics.ts';
import { BuildTriggers } from './build-triggers.ts';
import { logEvents } from './log-events.ts';

interface Event {
  readonly event: string;
  readonly id: string | undefined;
  readonly data: Record<string, unknown>;
}

let server: ApiHarness;
let token: string;
const repository = '/api/v1/repository/owner/web/build/';

async function start(clock?: ManualClock): Promise<BuildId> {
  server = await startApiServer(clock === undefined ? {} : { clock });
  token = await server.addUser('owner');
  await server.addRepository('owner/web');
  const { json } = await server.call('POST', repository, {
    token,
    body: { archive_url: 'https://sources.example/source.tar.gz' },
  });
  return json.id as BuildId;
}
afterEach(async () => await server[Symbol.asyncDispose]());

const append = async (id: BuildId, lines: readonly string[]) =>
  await server.logs.append(id, { kind: 'manager' }, [
    { text: Buffer.from(lines.join('\n')), count: lines.length, time: 1_700_000_000_000 },
  ]);

async function open(id: BuildId, headers: Record<string, string> = {}, query = '') {
  const stop = new AbortController();
  const response = await fetch(`${server.url}${repository}${id}/logs/stream${query}`, {
    headers: { authorization: `Bearer ${token}`, ...headers },
    signal: stop.signal,
  });
  return { response, events: parse(response), stop: () => stop.abort() };
}

/** Events, and comments as events named `comment`. */
async function* parse(response: Response): AsyncGenerator<Event> {
  let held = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    held += decoder.decode(chunk, { stream: true });
    for (let end = held.indexOf('\n\n'); end >= 0; end = held.indexOf('\n\n')) {
      const block = held.slice(0, end).split('\n');
      held = held.slice(end + 2);
      const field = (name: string) =>
        block.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      if (block[0]?.startsWith(':') === true) yield { event: 'comment', id: undefined, data: {} };
      const data = field('data');
      if (data !== undefined)
        yield {
          event: field('event') ?? 'message',
          id: field('id'),
          data: JSON.parse(data) as Event['data'],
        };
    }
  }
}

async function nextOf(events: AsyncGenerator<Event>, kind: string): Promise<Event> {
  for (;;) {
    const { value, done } = await events.next();
    if (done === true) throw new Error(`the stream ended before an event ${kind}`);
    if (value.event === kind) return value;
  }
}

const messages = (event: Event) => (event.data.logs as { message: string }[]).map(({ message }) => message);

test('what is there comes at once, what is written later as it is written, and then the end', async () => {
  const id = await start();
  await append(id, ['one', 'two']);
  const { response, events } = await open(id);
  expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
  const first = await nextOf(events, 'log');
  expect([first.id, first.data.start, messages(first)]).toEqual(['2', 0, ['one', 'two']]);
  await append(id, ['three']);
  const second = await nextOf(events, 'log');
  expect([second.id, second.data.start, messages(second)]).toEqual(['3', 2, ['three']]);
  await server.call('DELETE', `${repository}${id}`, { token });
  await server.logs.close(id);
  const last = await nextOf(events, 'end');
  expect(last.data).toMatchObject({ id, phase: 'cancelled' });
  expect((await events.next()).done).toBe(true);
});

test('a change of the build is told without a line of log', async () => {
  const id = await start();
  const { events, stop } = await open(id);
  expect((await nextOf(events, 'phase')).data.phase).toBe('waiting');
  await server.call('DELETE', `${repository}${id}`, { token });
  expect((await nextOf(events, 'phase')).data.phase).toBe('cancelled');
  stop();
});

test.each([
  ['Last-Event-ID', { 'last-event-id': '2' }, ''],
  ['start', {}, '?start=2'],
  ['Last-Event-ID before start', { 'last-event-id': '2' }, '?start=1'],
])('goes on at the entry of %s', async (_how, headers, query) => {
  const id = await start();
  await append(id, ['one', 'two', 'three']);
  const { events, stop } = await open(id, headers, query);
  const event = await nextOf(events, 'log');
  expect([event.data.start, messages(event), event.id]).toEqual([2, ['three'], '3']);
  stop();
});

test('a reader that comes after the end gets the whole log and the end', async () => {
  const id = await start();
  const lines = Array.from({ length: 25_000 }, (_, index) => `line ${index} ✓`);
  for (let at = 0; at < lines.length; at += 5_000) await append(id, lines.slice(at, at + 5_000));
  await server.call('DELETE', `${repository}${id}`, { token });
  await server.logs.close(id);
  const { events } = await open(id);
  const read: string[] = [];
  let blocks = 0;
  for await (const event of events) {
    if (event.event !== 'log') continue;
    expect(event.data.start).toBe(read.length);
    read.push(...messages(event));
    expect(event.id).toBe(String(read.length));
    blocks += 1;
  }
  expect(read).toEqual(lines);
  expect(blocks).toBeLessThan(200);
});

test('control characters and line ends inside a message do not break the stream', async () => {
  const id = await start();
  const nasty = 'a\rb\u001b[31mred\u0000\u2028end: x';
  await append(id, [nasty]);
  const { events, stop } = await open(id);
  expect(messages(await nextOf(events, 'log'))).toEqual([nasty]);
  stop();
});

test('a silent stream gives a sign of life', async () => {
  const clock = new ManualClock(Date.now());
  const id = await start(clock);
  const { events, stop } = await open(id);
  await nextOf(events, 'phase');
  const sign = nextOf(events, 'comment');
  for (let seconds = 0; seconds < 40; seconds += 5) await clock.advance(5_000);
  expect((await sign).event).toBe('comment');
  stop();
});

test('a log that nobody closed does not hold the reader of a finished build', async () => {
  const clock = new ManualClock(Date.now());
  const id = await start(clock);
  await append(id, ['one']);
  await server.queue.cancel(id, 'owner');
  const { events } = await open(id);
  const end = nextOf(events, 'end');
  let over = false;
  void end.then(() => {
    over = true;
  });
  while (!over) {
    await clock.advance(5_000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect((await end).data.phase).toBe('cancelled');
});

test('a reader that takes nothing for long misses nothing when the build ends meanwhile', async () => {
  const clock = new ManualClock(Date.now());
  const id = await start(clock);
  const lines = Array.from({ length: 30_000 }, (_, index) => `line ${index} ${'.'.repeat(60)}`);
  for (let at = 0; at < lines.length; at += 5_000) await append(id, lines.slice(at, at + 5_000));
  const build = await server.queue.build(id);
  if (build === undefined) throw new Error('the build is gone');
  const { queue, logs, triggers } = server;
  const signal = new AbortController().signal;
  const events = logEvents({
    build,
    role: 'admin',
    start: 0,
    queue,
    triggers: new BuildTriggers(triggers.triggers),
    logs,
    clock,
    metrics: new Metrics(),
    signal,
  });
  const read: string[] = [];
  const take = (event: Buffer) => {
    const data = /^event: log\ndata: (.*)$/m.exec(event.toString())?.[1];
    if (data !== undefined)
      read.push(...(JSON.parse(data) as { logs: { message: string }[] }).logs.map(({ message }) => message));
  };
  while (read.length === 0) take((await events.next()).value as Buffer);
  expect(read.length).toBeLessThan(lines.length);
  await clock.advance(20_000);
  await queue.cancel(id, 'owner');
  await logs.close(id);
  for await (const event of events) take(event);
  expect(read).toEqual(lines);
});

test('a reader that goes away leaves nothing behind', async () => {
  const id = await start();
  const readers = async () =>
    /slipway_log_readers (\d+)/.exec((await server.call('GET', '/metrics')).text)?.[1];
  const { events, stop } = await open(id);
  await nextOf(events, 'phase');
  expect(await readers()).toBe('1');
  stop();
  await expect(events.next()).rejects.toThrow();
  while ((await readers()) !== '0') await new Promise((resolve) => setImmediate(resolve));
});

test('a reader that does not read holds no memory of the server', async () => {
  const id = await start();
  const line = 'x'.repeat(999);
  for (let at = 0; at < 60; at += 1)
    await append(
      id,
      Array.from({ length: 1_000 }, () => line),
    );
  const sent = async () =>
    Number(/slipway_log_sent_bytes_total (\d+)/.exec((await server.call('GET', '/metrics')).text)?.[1] ?? 0);
  const request = httpRequest(`${server.url}${repository}${id}/logs/stream`, {
    headers: { authorization: `Bearer ${token}` },
  });
  request.end();
  const response = await new Promise<import('node:http').IncomingMessage>((resolve) =>
    request.once('response', resolve),
  );
  response.pause();
  // What the kernel and one page take is written; then it stands still though 60 MB are there.
  let before = -1;
  let still = 0;
  while (still < 20) {
    const now = await sent();
    still = now === before && now > 0 ? still + 1 : 0;
    before = now;
  }
  expect(before).toBeLessThan(30_000_000);
  request.destroy();
});

test('the log as text, and as pages', async () => {
  const id = await start();
  await append(id, ['one', 'two', 'three']);
  const text = await server.call('GET', `${repository}${id}/logs/download`, { token });
  expect(text.text).toBe('one\ntwo\nthree\n');
  expect(text.headers.get('content-type')).toBe('text/plain; charset=utf-8');
  expect(text.headers.get('content-disposition')).toBe(`attachment; filename="${id}-unfinished.log"`);
  const page = await server.call('GET', `${repository}${id}/logs?start=1&limit=1`, { token });
  expect(page.json).toMatchObject({ start: 1, total: 3, logs: [{ message: 'two' }] });
  const beyond = await server.call('GET', `${repository}${id}/logs?start=10`, { token });
  expect(beyond.json).toMatchObject({ total: 3, logs: [] });
  expect((await server.call('GET', `${repository}${id}/logs?start=-1`, { token })).status).toBe(400);
});
