import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { SlipwayApi } from '../../test/fakes/slipway-api.ts';
import { ManualClock } from '../base/clock.ts';
import { Client } from './client.ts';
import { follow } from './follow.ts';

let api: SlipwayApi;
let client: Client;
const never = new AbortController().signal;

beforeEach(async () => {
  api = new SlipwayApi();
  await api.start();
  client = new Client(api.url, `Bearer ${api.token}`);
});
afterEach(async () => await api.stop());

/** Follows to the end; every wait is over at once, so that nothing sleeps. */
async function followed(events: ReturnType<typeof follow>, clock: ManualClock) {
  const messages: string[] = [];
  const phases: string[] = [];
  let over = false;
  const work = (async () => {
    for (;;) {
      const { value, done } = await events.next();
      if (done) return { messages, phases, end: value };
      if (value.kind === 'log') messages.push(...value.entries.map(({ message }) => message));
      else phases.push(value.build.phase);
    }
  })().finally(() => {
    over = true;
  });
  const ticking = (async () => {
    while (!over) await clock.advance(clock.sleeping > 0 ? 5_000 : 0);
  })();
  return await work.finally(() => ticking);
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}

const numbers = (count: number) => Array.from({ length: count }, (_, i) => ({ message: `line ${i} é` }));

describe('follow', () => {
  it('gives the log and the phases of a build as they come, and its final view', async () => {
    const build = api.addBuild();
    const clock = new ManualClock();
    const result = followed(follow(client, build.view, never, clock), clock);
    await until(() => build.followers === 1);
    build.change({ phase: 'building' });
    build.append({ message: 'one' }, { message: 'two' }, { message: 'three' });
    build.change({ phase: 'complete', digest: 'sha256:1' });
    expect(await result).toMatchObject({
      messages: ['building', 'one', 'two', 'three', 'complete'],
      phases: ['waiting', 'building'],
      end: { id: build.id, phase: 'complete', digest: 'sha256:1' },
    });
  });

  it('goes on where it was after connections that break in the middle of an event', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 900 }), { maxLength: 6 }),
        fc.integer({ min: 1, max: 7 }),
        async (cuts, page) => {
          api.page = page;
          api.resumedAt.length = 0;
          const build = api.addBuild();
          build.append(...numbers(20));
          build.change({ phase: 'complete' });
          for (const cut of cuts) api.cutNextStream(cut);
          const clock = new ManualClock();
          const { messages } = await followed(follow(client, build.view, never, clock), clock);
          expect(messages).toEqual([...numbers(20).map(({ message }) => message), 'complete']);
          expect(api.resumedAt[0]).toBeUndefined();
          api.dropCuts();
        },
      ),
      { numRuns: 40 },
    );
  });

  it('says where to go on', async () => {
    const build = api.addBuild();
    build.append(...numbers(4));
    build.change({ phase: 'complete' });
    const twoPages = 'retry: 1000\n\n: waiting\n\n'.length + 2 * 80;
    api.cutNextStream(twoPages);
    const clock = new ManualClock();
    await followed(follow(client, build.view, never, clock), clock);
    expect(api.resumedAt).toEqual([undefined, '2']);
  });

  it('leaves out what a server sends twice', async () => {
    const build = api.addBuild();
    const event = (start: number, ...messages: string[]) =>
      `event: log\ndata: ${JSON.stringify({ start, logs: messages.map((message) => ({ message })) })}\n\n`;
    api.answerNext({
      status: 200,
      headers: { 'content-type': 'text/event-stream' },
      body: `${event(0, 'a', 'b')}${event(1, 'b', 'c')}${event(0, 'a')}event: end\ndata: ${JSON.stringify(build.view)}\n\n`,
    });
    const clock = new ManualClock();
    const { messages } = await followed(follow(client, build.view, never, clock), clock);
    expect(messages).toEqual(['a', 'b', 'c']);
  });

  it('waits for a server that is away for minutes', async () => {
    const build = api.addBuild();
    build.append(...numbers(3));
    const clock = new ManualClock();
    const events = follow(client, build.view, never, clock);
    for (let seen = 0; seen < 3; ) {
      const { value, done } = await events.next();
      if (!done && value.kind === 'log') seen += value.entries.length;
    }
    await api.stop();
    const rest = followed(events, clock);
    const gone = clock.now();
    await until(() => clock.now() - gone > 120_000);
    build.append({ message: 'while it was away' });
    await api.start();
    await until(() => build.followers === 1);
    build.change({ phase: 'error' });
    expect(await rest).toMatchObject({
      messages: ['while it was away', 'error'],
      end: { phase: 'error' },
    });
    expect(api.resumedAt).toEqual([undefined, '3']);
  });

  it('gives up after ten minutes without a server', async () => {
    const build = api.addBuild();
    await api.stop();
    const clock = new ManualClock();
    const started = clock.now();
    await expect(followed(follow(client, build.view, never, clock), clock)).rejects.toMatchObject({
      code: 'unreachable',
    });
    expect(clock.now() - started).toBeGreaterThan(600_000);
    expect(clock.now() - started).toBeLessThan(620_000);
  });

  it('gives up on a server that ends every stream at once', async () => {
    const build = api.addBuild();
    api.answerAlways({ status: 200, headers: { 'content-type': 'text/event-stream' } });
    const clock = new ManualClock();
    await expect(followed(follow(client, build.view, never, clock), clock)).rejects.toMatchObject({
      code: 'server-failed',
    });
  });

  it.each([401, 403, 404, 429])('ends at once when the server answers %d', async (status) => {
    const build = api.addBuild();
    api.answerNext({ status, body: '{"detail":"no"}' });
    const clock = new ManualClock();
    const code = status === 401 ? 'not-logged-in' : 'refused';
    await expect(followed(follow(client, build.view, never, clock), clock)).rejects.toMatchObject({ code });
    expect(api.requests).toHaveLength(1);
  });

  it('ends with the signal’s reason, while it reads and while it waits', async () => {
    const build = api.addBuild();
    const reading = new AbortController();
    const events = follow(client, build.view, reading.signal, new ManualClock());
    await events.next();
    const next = events.next();
    reading.abort(new Error('enough'));
    await expect(next).rejects.toThrow('enough');
    await until(() => build.followers === 0);

    await api.stop();
    const waiting = new AbortController();
    const clock = new ManualClock();
    const first = follow(client, build.view, waiting.signal, clock).next();
    await until(() => clock.sleeping === 1);
    waiting.abort(new Error('enough'));
    await expect(first).rejects.toThrow('enough');
  });
});
