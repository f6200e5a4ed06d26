import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startRegistry } from '../../../test/services/docker-registry.ts';
import { freePort } from '../../../test/services/service.ts';
import { ManualClock } from '../../base/clock.ts';
import { DummyEngine } from './dummy.ts';
import { engineSuite, failure, Recorder, target, withTimePassing, workspace } from './engine.suite.ts';

let registry: Awaited<ReturnType<typeof startRegistry>>;
let root: string;
let deadRegistry: string;

beforeAll(async () => {
  registry = await startRegistry();
  root = await mkdtemp(join(tmpdir(), 'slipway-dummy-'));
  deadRegistry = `127.0.0.1:${await freePort()}`;
});

afterAll(async () => {
  await registry[Symbol.asyncDispose]();
  await rm(root, { recursive: true });
});

const makeSubject = async () => {
  const clock = new ManualClock();
  return {
    clock,
    engine: new DummyEngine({ clock }),
    registry: registry.host,
    deadRegistry,
    folder: await mkdtemp(join(root, 'test-')),
    dockerfiles: {
      good: 'FROM scratch\nRUN true\n',
      failing: 'FROM scratch\n#dummy exit 3\n',
      chatty: 'FROM scratch\n#dummy lines 50000 100\n',
      endless: 'FROM scratch\n#dummy print started\n#dummy hang\n',
    },
    furnish: async () => {},
    leftovers: async () => [],
  };
};

engineSuite('dummy', makeSubject);

describe('the dummy engine', () => {
  const never = new AbortController().signal;

  it('does its steps in order, each in its phase', async () => {
    const subject = await makeSubject();
    const request = await workspace(
      subject,
      '#dummy print one\nFROM scratch\n#dummy sleep 3600000\n#dummy lines 2 10\n#dummy push print late\n',
    );
    const events = new Recorder();
    const image = await withTimePassing(subject.clock, subject.engine.build(request, events, never));
    expect(events.text).toBe('STEP 1/1: FROM scratch\none\nline 0 ..\nline 1 ..\n');
    await subject.engine.push(image, target(subject, request), events, never);
    expect(events.text.endsWith('late\n')).toBe(true);
  });

  it('fails with the code it is told', async () => {
    const subject = await makeSubject();
    const request = await workspace(subject, 'FROM scratch\n#dummy push fail diskfull all gone\n');
    const image = await subject.engine.build(request, new Recorder(), never);
    const error = await failure(subject.engine.push(image, target(subject, request), new Recorder(), never));
    expect(error).toMatchObject({ code: 'diskfull', message: 'all gone' });
  });

  it('writes garbage that is no text', async () => {
    const subject = await makeSubject();
    const request = await workspace(subject, 'FROM scratch\n#dummy garbage 100000\n');
    const pieces: Buffer[] = [];
    await subject.engine.build(request, { write: async (bytes) => void pieces.push(bytes) }, never);
    const garbage = Buffer.concat(pieces.slice(1));
    expect(garbage.length).toBe(100_000);
    expect(garbage.includes(0)).toBe(true);
    expect(garbage.includes(0x0a)).toBe(false);
    expect(() => new TextDecoder('utf-8', { fatal: true }).decode(garbage)).toThrow();
  });

  it.each(['#dummy sleep soon', '#dummy fail cancelled', '#dummy dance'])('refuses %s', async (line) => {
    const subject = await makeSubject();
    const request = await workspace(subject, `FROM scratch\n${line}\n`);
    const error = await failure(subject.engine.build(request, new Recorder(), never));
    expect(error.code).toBe('dockerfileissue');
  });
});
