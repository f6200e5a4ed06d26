import { expect, test } from 'vitest';
import { type FakeAnswer, FakeServer } from '../../../test/fakes/fake-server.ts';
import { ManualClock } from '../../base/clock.ts';
import { architectureOf, CoreosAmi } from './coreos-ami.ts';

const image = (id: string) => ({ release: '42', image: id });
/** As the project has it, cut down to what is read. */
const stream = (x86: string) => ({
  stream: 'stable',
  architectures: {
    x86_64: { images: { aws: { regions: { 'eu-central-1': image(x86) } } } },
    aarch64: { images: { aws: { regions: { 'eu-central-1': image('ami-0a0a0a0a0a0a0a0a0') } } } },
  },
});
const first = 'ami-01234567890abcdef';
const second = 'ami-0fedcba9876543210';

async function place(changes: { region?: string; instanceType?: string } = {}) {
  let answer: FakeAnswer = { body: stream(first) };
  const server = await new FakeServer(() => answer).start();
  const clock = new ManualClock();
  const amis = new CoreosAmi({
    executor: 'burst',
    channel: 'stable',
    region: 'eu-central-1',
    instanceType: 't3.large',
    streams: server.url,
    clock,
    ...changes,
  });
  return {
    amis,
    clock,
    server,
    answer: (next: FakeAnswer) => {
      answer = next;
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

test('the newest image of the channel and region is asked for once an hour', async () => {
  await using here = await place();
  expect(await Promise.all([here.amis.find(), here.amis.find()])).toEqual([first, first]);
  expect(here.server.requests.map(({ path }) => path)).toEqual(['/stable.json']);
  here.answer({ body: stream(second) });
  await here.clock.advance(3_599_999);
  expect(await here.amis.find()).toBe(first);
  await here.clock.advance(1);
  expect(await here.amis.find()).toBe(second);
  expect(here.server.requests).toHaveLength(2);
});

test('one that is no good is asked for again', async () => {
  await using here = await place();
  await here.amis.find();
  here.answer({ body: stream(second) });
  here.amis.forget();
  expect(await here.amis.find()).toBe(second);
});

test('an older answer is good while there is no newer one', async () => {
  await using here = await place();
  await here.amis.find();
  here.answer({ status: 503, body: 'away' });
  await here.clock.advance(3_600_000);
  expect(await here.amis.find()).toBe(first);
  expect(await here.amis.find()).toBe(first);
  expect(here.server.requests).toHaveLength(2);
  here.answer({ body: stream(second) });
  await here.clock.advance(60_000);
  expect(await here.amis.find()).toBe(second);
});

test.each<[string, FakeAnswer]>([
  ['an error', { status: 500 }],
  ['no JSON', { body: '<html>' }],
  ['too much', { body: ' '.repeat(5 * 1024 * 1024) }],
])('%s instead of a list is unavailable, and asked for again at once', async (_what, answer) => {
  await using here = await place();
  here.answer(answer);
  await expect(here.amis.find()).rejects.toMatchObject({
    name: 'ExecutorError',
    code: 'unavailable',
    message: expect.stringContaining('COREOS_AMI'),
  });
  here.answer({ body: stream(first) });
  expect(await here.amis.find()).toBe(first);
});

test.each([
  ['a region that has none', { region: 'mars-1' }, stream(first)],
  ['a region that objects have', { region: '__proto__' }, stream(first)],
  ['an image that is none', {}, stream('"; reboot')],
  ['a list that is none', {}, { architectures: [] }],
  ['null', {}, null],
])('%s is a fault of the configuration', async (_what, changes, body) => {
  await using here = await place(changes);
  here.answer({ body });
  await expect(here.amis.find()).rejects.toMatchObject({ code: 'misconfigured' });
});

test.each([
  ['t3.large', 'x86_64'],
  ['g4dn.xlarge', 'x86_64'],
  ['g5.xlarge', 'x86_64'],
  ['c7i-flex.large', 'x86_64'],
  ['u-6tb1.metal', 'x86_64'],
  ['t4g.large', 'aarch64'],
  ['c7gn.xlarge', 'aarch64'],
  ['g5g.xlarge', 'aarch64'],
  ['a1.large', 'aarch64'],
  ['im4gn.large', 'aarch64'],
])('%s is %s', (type, architecture) => {
  expect(architectureOf(type)).toBe(architecture);
});

test('an ARM type gets an image of ARM', async () => {
  await using here = await place({ instanceType: 'c7g.large' });
  expect(await here.amis.find()).toBe('ami-0a0a0a0a0a0a0a0a0');
});
