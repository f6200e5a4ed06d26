import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MemoryTerminal } from '../../test/fakes/memory-terminal.ts';
import { type ApiHarness, startApiServer } from '../../test/harness/api-server.ts';
import { audit } from './audit.ts';

let server: ApiHarness;
const tokens = new Map<string, string>();

beforeAll(async () => {
  server = await startApiServer();
  tokens.set('root', await server.addUser('root', { superuser: true }));
  tokens.set('kim', await server.addUser('kim'));
  for (const who of ['root', 'kim'])
    for (const repository of ['one', 'two'])
      await server.call('POST', '/api/v1/repository', { token: tokens.get(who) ?? '', body: { repository } });
  await server.call('DELETE', '/api/v1/repository/kim/none', { token: tokens.get('kim') ?? '' });
});
afterAll(async () => await server[Symbol.asyncDispose]());

const now = () => Date.now();
async function run(who: string, flags: Partial<Parameters<typeof audit>[1]> = {}): Promise<string> {
  const memory = new MemoryTerminal({ server: server.url, token: tokens.get(who) ?? '' });
  await audit(memory.terminal, { limit: 50, ...flags }, now());
  return memory.printed;
}

describe('slipway audit', () => {
  it('shows a superuser who did what, newest first', async () => {
    const [head, ...rows] = (await run('root')).trimEnd().split('\n');
    expect(head).toMatch(/^TIME +WHO +FROM +ACTION +RESULT +TARGET$/);
    expect(rows).toHaveLength(5);
    expect(rows[0]).toMatch(
      /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +user kim +127\.0\.0\.1 +repository\.delete +failed \(not_found\) +repository kim\/none$/,
    );
    expect(rows[4]).toContain('repository root/one');
  });

  it('follows pages up to the limit, for programs too', async () => {
    const records = JSON.parse(await run('root', { json: true, limit: 3 })) as unknown[];
    expect(records).toHaveLength(3);
  });

  it('filters by who, what, result and time', async () => {
    const of = async (flags: Partial<Parameters<typeof audit>[1]>) =>
      (JSON.parse(await run('root', { ...flags, json: true })) as unknown[]).length;
    expect(await of({ actor: 'kim' })).toBe(3);
    expect(await of({ actor: 'kim', action: 'repository.create' })).toBe(2);
    expect(await of({ result: 'failed' })).toBe(1);
    expect(await of({ target: 'kim/one' })).toBe(1);
    expect(await of({ since: '1h' })).toBe(5);
    expect(await of({ until: '1h' })).toBe(0);
    expect(await of({ since: '2020-01-01', until: '2020-02-01T00:00:00Z' })).toBe(0);
  });

  it('shows administrators their own namespace, and nobody else’s', async () => {
    expect((await run('kim', { namespace: 'kim' })).split('\n').filter((line) => line !== '')).toHaveLength(
      4,
    );
    await expect(run('kim', { namespace: 'root' })).rejects.toMatchObject({ code: 'refused' });
    await expect(run('kim')).rejects.toMatchObject({ code: 'refused' });
  });

  it('says that nothing fits, and refuses what is no time', async () => {
    expect(await run('root', { actor: 'nobody' })).toBe('Nothing was recorded that fits.\n');
    await expect(run('root', { since: 'tomorrow' })).rejects.toMatchObject({ code: 'usage' });
  });
});
