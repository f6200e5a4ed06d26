import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { SlipwayApi } from '../../test/fakes/slipway-api.ts';
import { ContextError } from '../context/context-error.ts';
import { type CliError, exitStatusOf } from './cli-error.ts';
import { Client } from './client.ts';

let api: SlipwayApi;
let client: Client;

beforeEach(async () => {
  api = new SlipwayApi();
  await api.start();
  client = new Client(api.url, `Bearer ${api.token}`);
});
afterEach(async () => await api.stop());

async function failureOf(work: Promise<unknown>): Promise<CliError> {
  return await work.then(
    () => expect.unreachable('it did not fail'),
    (error: CliError) => error,
  );
}

const json = { 'content-type': 'application/json' };

describe('an answer that is an error', () => {
  it.each([
    [400, 'refused', 1],
    [403, 'refused', 1],
    [404, 'refused', 1],
    [429, 'refused', 1],
    [500, 'server-failed', 2],
    [503, 'server-failed', 2],
  ] as const)('%d with the server’s own words is %s', async (status, code, exit) => {
    api.answerNext({
      status,
      headers: json,
      body: JSON.stringify({ error_message: 'Do \u001b[2Jthis next.' }),
    });
    const error = await failureOf(client.get('/api/v1/user/'));
    expect(error).toMatchObject({ name: 'CliError', code, status, message: 'Do this next.' });
    expect(exitStatusOf(error)).toBe(exit);
  });

  it('401 says how to log in', async () => {
    const error = await failureOf(new Client(api.url, 'Bearer wrong').get('/api/v1/user/'));
    expect(error).toMatchObject({ code: 'not-logged-in', status: 401 });
    expect(error.message).toContain(`slipway login --server ${api.url}`);
  });

  it('429 says when to try again', async () => {
    api.answerNext({ status: 429, headers: { ...json, 'retry-after': '30' }, body: '{"detail":"Too many"}' });
    expect((await failureOf(client.get('/'))).message).toBe('Too many. Try again in 30 s.');
  });

  it.each(['<html><b>Bad gateway</b></html>', '', '[]', '{"detail":7}'])(
    '502 of a proxy in between tells its status and not its page: %j',
    async (body) => {
      api.answerNext({ status: 502, body });
      const error = await failureOf(client.get('/'));
      expect(error).toMatchObject({ code: 'server-failed', status: 502 });
      expect(error.message).toBe(`${api.url} answered 502 Bad Gateway. Look into the log of the server.`);
    },
  );

  it('200 without JSON is another server’s', async () => {
    api.answerNext({ status: 200, body: '<html>' });
    expect(await failureOf(client.get('/'))).toMatchObject({ code: 'server-failed' });
  });
});

describe('a connection', () => {
  it('that is refused says how to start a server', async () => {
    await api.stop();
    const error = await failureOf(client.get('/'));
    expect(error).toMatchObject({ code: 'unreachable' });
    expect(error.message).toContain('slipway up');
    expect(exitStatusOf(error)).toBe(2);
  });

  it('ends with the reason of the caller’s signal', async () => {
    const reason = new Error('stop');
    await expect(client.get('/', AbortSignal.abort(reason))).rejects.toBe(reason);
  });

  it('that breaks while a log is downloaded is unreachable', async () => {
    const build = api.addBuild();
    build.append({ message: 'x'.repeat(100_000) });
    api.cutNextStream(50_000);
    const path = `/api/v1/repository/ada/web/build/${build.id}/logs/stream`;
    let bytes = 0;
    const reading = (async () => {
      for await (const chunk of client.download(path)) bytes += chunk.length;
    })();
    expect(await failureOf(reading)).toMatchObject({ code: 'unreachable' });
    expect(bytes).toBe(50_000);
  });
});

describe('an upload', () => {
  it('streams its bytes', async () => {
    await client.upload(
      `${api.url}/userfiles/1?signature=s`,
      Readable.from([Buffer.from('ab'), Buffer.from('c')]),
      'x/y',
    );
    expect(api.uploads.get('1')?.toString()).toBe('abc');
  });

  it('fails with what is wrong with its source, not with the network', async () => {
    const wrong = new ContextError('changed', 'a file became shorter');
    async function* source() {
      yield Buffer.from('ab');
      throw wrong;
    }
    const upload = client.upload('/userfiles/1', Readable.from(source(), { objectMode: false }), 'x/y');
    await expect(upload).rejects.toBe(wrong);
    expect(api.uploads.size).toBe(0);
  });

  it('never sends the login to another server', async () => {
    const other = new SlipwayApi();
    await other.start();
    onTestFinished(async () => await other.stop());
    let authorization: string | undefined = 'not asked';
    other.onRequest = (request) => {
      authorization = request.headers.authorization;
    };
    await client.upload(`${other.url}/userfiles/1`, Readable.from([Buffer.from('a')]), 'x/y');
    expect(authorization).toBeUndefined();
  });
});
