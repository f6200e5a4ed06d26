import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { scratchFile, scratchPostgres } from '../harness/scratch-database.ts';
import { openRig, type Rig } from './rig.ts';
import { SharedClient } from './shared-client.ts';

describe.each([
  ['SQLite', scratchFile],
  ['PostgreSQL', scratchPostgres],
] as const)('what a worker of the shared protocol logs, on %s', (_name, open) => {
  let rig: Rig;
  let other: string;
  beforeAll(async () => {
    rig = await openRig({ open });
    other = (await rig.join()).host;
  });
  afterAll(async () => await rig[Symbol.asyncDispose]());

  test('none of its tokens is in the log, whichever manager it logs to', async () => {
    const build = await rig.enqueue({ push: false });
    const start = await rig.started(build);
    using registered = new SharedClient(rig.host);
    using elsewhere = new SharedClient(other);
    const answer = await registered.register(start.token);
    if (answer.kind !== 'reply') throw new Error(JSON.stringify(answer));
    const token = String(answer.reply.job_jwt);
    const secrets = {
      job: token,
      registration: start.token,
      push: String(answer.reply.push_token),
      pull: String(answer.reply.pull_token),
    };
    let sequence = 0;
    for (const client of [registered, elsewhere]) {
      for (const [name, secret] of Object.entries(secrets)) {
        sequence += 1;
        expect(await client.log(token, sequence, `${name} is ${secret}, no less`)).toMatchObject({
          kind: 'reply',
        });
      }
      sequence += 1;
      const encoded = Buffer.from(`$token:${secrets.push}`).toString('base64');
      await client.log(token, sequence, `{"auth":"${encoded}"}`);
    }
    const { entries } = await rig.log.read(build.id, 0, 1_000);
    const lines = entries.map(({ message }) => message);
    for (const name of Object.keys(secrets))
      expect(lines.filter((line) => line === `${name} is ***, no less`)).toHaveLength(2);
    const text = lines.join('\n');
    for (const secret of Object.values(secrets)) {
      // No part of a signature or of what it signs either.
      for (const part of secret.split('.').slice(1)) expect(text).not.toContain(part);
      expect(text).not.toContain(Buffer.from(secret).toString('base64').slice(40, 200));
    }
    await rig.queue.cancel(build.id, 'test');
    rig.exit(start, 1);
  });

  test('nor when it is cut between two messages of one stream, and the words after it are', async () => {
    const build = await rig.enqueue({ push: false });
    const start = await rig.started(build);
    using client = new SharedClient(rig.host);
    const answer = await client.register(start.token);
    if (answer.kind !== 'reply') throw new Error(JSON.stringify(answer));
    const [push, pull] = [String(answer.reply.push_token), String(answer.reply.pull_token)];
    const cut = pull.indexOf('.');
    await client.logAll(String(answer.reply.job_jwt), [
      `logged in with ${push}`,
      'L 0',
      `GET /x?push=${push}&pull=${pull.slice(0, cut)}`,
      `${pull.slice(cut)} HTTP/1.1`,
      'L 1',
    ]);
    const { entries } = await rig.log.read(build.id, 0, 1_000);
    const lines = entries.filter(({ type }) => type !== 'phase').map(({ message }) => message);
    expect(lines).toEqual(['logged in with ***', 'L 0', 'GET /x?push=***&pull=***', ' HTTP/1.1', 'L 1']);
    await rig.queue.cancel(build.id, 'test');
    rig.exit(start, 1);
  });
});
