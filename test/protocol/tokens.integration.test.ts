import { createPublicKey } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { newAttemptId, newBuildId } from '../../src/model/ids.ts';
import { scratchFile, scratchPostgres } from '../harness/scratch-database.ts';
import { BatchClient } from './batch-client.ts';
import {
  type Forgery,
  foreignKey,
  foreignRsaKey,
  forge,
  signedBySecret,
  tampered,
  unsigned,
} from './forged-token.ts';
import { openRig, type Rig, type StartedAttempt } from './rig.ts';
import { type Answer, SharedClient } from './shared-client.ts';

/**
 * Every call with every kind of token that is not good: the status is UNAUTHENTICATED, it says why, and not a row of
 * the database is another one afterwards.
 */

interface Victim {
  readonly rig: Rig;
  readonly started: StartedAttempt;
  /** A good token of the type that the call wants. */
  readonly good: string;
  /** A good token of the other type. */
  readonly other: string;
  /** Another build that runs. */
  readonly neighbour: StartedAttempt;
}

const signed =
  (forgery: Forgery) =>
  ({ rig, good }: Victim) =>
    forge(good, rig.signing.keyPem, forgery);
const now = () => Math.floor(Date.now() / 1000);

const badTokens: readonly (readonly [string, (victim: Victim) => string | Promise<string>, string])[] = [
  ['none at all', () => '', 'there is no token'],
  ['something else than a JWT', () => 'not-a-token', 'the token is not a JWT'],
  ['one as long as a book', () => 'x'.repeat(100_000), 'the token is too long'],
  ['the other type', ({ other }) => other, 'the token is not of type'],
  [
    'an expired one',
    signed({ claims: { iat: now() - 1000, nbf: now() - 1000, exp: now() - 500 } }),
    'the token has expired',
  ],
  [
    'one that is not valid yet',
    signed({ claims: { nbf: now() + 500, exp: now() + 1000 } }),
    'the token is not valid yet',
  ],
  [
    'another key under our key id',
    async (victim) => await signed({ key: foreignKey() })(victim),
    'the signature of the token is wrong',
  ],
  [
    'another key under its own id',
    async (victim) => await signed({ key: foreignKey(), header: { kid: 'mine' } })(victim),
    'the token is signed by an unknown key',
  ],
  [
    'no key id',
    async (victim) => await signed({ header: { kid: undefined } })(victim),
    'the token is signed by an unknown key',
  ],
  ['alg none', ({ good }) => unsigned(good), 'the token is not signed by an allowed algorithm'],
  [
    'the public key as the secret of an HMAC',
    ({ rig, good }) =>
      signedBySecret(
        good,
        Buffer.from(createPublicKey(rig.signing.keyPem).export({ format: 'pem', type: 'spki' })),
      ),
    'the token is not signed by an allowed algorithm',
  ],
  [
    'another allowed algorithm than the key is for',
    async (victim) => await signed({ key: foreignRsaKey(), header: { alg: 'RS256' } })(victim),
    'the token is not signed by an allowed algorithm',
  ],
  ['another issuer', signed({ claims: { iss: 'somebody' } }), 'the token was made by another manager'],
  ['another audience', signed({ claims: { aud: 'elsewhere' } }), 'the token is meant for another manager'],
  ['another subject', signed({ claims: { sub: 'admin' } }), 'the token has no readable claim sub'],
  ['no issuer', signed({ claims: { iss: undefined } }), 'the token has no readable claim iss'],
  ['no audience', signed({ claims: { aud: undefined } }), 'the token has no readable claim aud'],
  ['no subject', signed({ claims: { sub: undefined } }), 'the token has no readable claim sub'],
  ['no end', signed({ claims: { exp: undefined } }), 'the token has no readable claim exp'],
  ['no time of issue', signed({ claims: { iat: undefined } }), 'the token has no readable claim iat'],
  ['no beginning', signed({ claims: { nbf: undefined } }), 'the token has no readable claim nbf'],
  ['no context', signed({ claims: { context: undefined } }), 'the token has no readable claim context'],
  ...['token_type', 'build_id', 'job_id', 'attempt_id', 'epoch', 'expiration'].map(
    (claim) =>
      [
        `no context.${claim}`,
        signed({ context: { [claim]: undefined } }),
        `the token has no readable claim context.${claim}`,
      ] as const,
  ),
  ['an id that is none', signed({ context: { build_id: '../1' } }), 'no readable claim context.build_id'],
  ['an epoch that is text', signed({ context: { epoch: '1' } }), 'no readable claim context.epoch'],
  [
    'another epoch written over the signed one',
    ({ good }) => tampered(good, { epoch: 2 }),
    'the signature of the token is wrong',
  ],
  [
    'another build written over the signed one',
    ({ good, neighbour }) => tampered(good, { build_id: neighbour.identity.buildId }),
    'the signature of the token is wrong',
  ],
  [
    'a build that is not its attempt’s',
    (victim) => signed({ context: { build_id: victim.neighbour.identity.buildId } })(victim),
    'there is no such attempt',
  ],
  [
    'a job that is not its attempt’s',
    (victim) => signed({ context: { job_id: victim.neighbour.identity.jobId } })(victim),
    'there is no such attempt',
  ],
  [
    'another registration written over the signed one',
    ({ good }) => tampered(good, { registration: 7 }),
    'the signature of the token is wrong',
  ],
  [
    'a registration that is text',
    signed({ context: { registration: '1' } }),
    'no readable claim context.registration',
  ],
  ['a build that is not', signed({ context: { build_id: newBuildId() } }), 'there is no such attempt'],
  ['an attempt that is not', signed({ context: { attempt_id: newAttemptId() } }), 'there is no such attempt'],
  ['an epoch to come', signed({ context: { epoch: 2 } }), 'another attempt has taken the place of this one'],
  [
    'an epoch before all',
    signed({ context: { epoch: 0 } }),
    'another attempt has taken the place of this one',
  ],
];

type Call = (client: SharedClient, token: string, batches: BatchClient) => Promise<Answer>;

const calls: readonly (readonly [string, Call])[] = [
  ['Heartbeat', (client, token) => client.heartbeat(token)],
  ['SetPhase', (client, token) => client.setPhase(token, 2, 'BUILDING')],
  ['SetPhase to COMPLETE', (client, token) => client.setPhase(token, 2, 'COMPLETE')],
  ['SetPhase to ERROR', (client, token) => client.setPhase(token, 2, 'ERROR')],
  ['LogMessage', (client, token) => client.log(token, 2, 'not mine to say')],
  ['LogBatches', (_client, token, batches) => batches.log(token, 2, 'not mine to say')],
  ['DetermineCachedTag', (client, token) => client.cachedTag(token)],
];

const refused = (reason: string): Answer => ({
  kind: 'status',
  code: 'UNAUTHENTICATED',
  details: expect.stringMatching(
    new RegExp(`^Invalid build token: .*${reason.replaceAll('.', '\\.')}`),
  ) as unknown as string,
});

describe.each([
  ['SQLite', scratchFile],
  ['PostgreSQL', scratchPostgres],
] as const)('on %s', (_name, open) => {
  let rig: Rig;
  let client: SharedClient;
  let batches: BatchClient;
  let neighbour: StartedAttempt;

  beforeAll(async () => {
    rig = await openRig({ open });
    client = new SharedClient(rig.host);
    batches = new BatchClient(rig.host);
    neighbour = await rig.started(await rig.enqueue());
    await client.register(neighbour.token);
  });
  afterAll(async () => {
    client[Symbol.dispose]();
    batches[Symbol.dispose]();
    await rig[Symbol.asyncDispose]();
  });

  describe('a worker that has registered, with', () => {
    let victim: Victim;
    beforeAll(async () => {
      const started = await rig.started(await rig.enqueue());
      const answer = await client.register(started.token);
      if (answer.kind !== 'reply') throw new Error(answer.details);
      const good = String(answer.reply.job_jwt);
      victim = { rig, started, good, other: started.token, neighbour };
      expect(await client.setPhase(good, 1, 'UNPACKING')).toMatchObject({ reply: { success: true } });
      expect(await client.log(good, 1, 'mine')).toMatchObject({ reply: { success: true } });
    });

    test.each(badTokens)('%s', async (_what, make, reason) => {
      const token = await make(victim);
      for (const [name, call] of calls) {
        const before = await rig.rows();
        expect(await call(client, token, batches), name).toEqual(refused(reason));
        expect(await rig.rows(), name).toEqual(before);
      }
    });
  });

  describe('a worker that has not registered, with', () => {
    let victim: Victim;
    beforeAll(async () => {
      const started = await rig.started(await rig.enqueue());
      const other = await rig.jobToken(started.identity);
      victim = { rig, started, good: started.token, other, neighbour };
    });

    test.each(badTokens)('%s', async (_what, make, reason) => {
      const token = await make(victim);
      const before = await rig.rows();
      expect(await client.register(token)).toEqual(refused(reason));
      expect(await rig.rows()).toEqual(before);
    });

    test('and the good token is still good after all that', async () => {
      expect(await client.register(victim.good)).toMatchObject({
        kind: 'reply',
        reply: { registry: rig.host },
      });
    });
  });

  describe('a registration token', () => {
    let before: Awaited<ReturnType<Rig['rows']>>;
    beforeEach(async () => {
      before = await rig.rows();
    });

    test('is no good a second time, once its worker has been heard', async () => {
      const first = await client.register(neighbour.token);
      expect(first.kind).toBe('reply');
      const token = first.kind === 'reply' ? String(first.reply.job_jwt) : '';
      expect(await client.heartbeat(token)).toMatchObject({ reply: { reply: true } });
      before = await rig.rows();
      expect(await client.register(neighbour.token)).toEqual(
        refused('a worker has registered with this token already'),
      );
      expect(await rig.rows()).toEqual(before);
    });

    test('is no good when its attempt is over', async () => {
      const build = await rig.enqueue();
      const started = await rig.started(build);
      await rig.queue.cancel(build.id, 'ann');
      await rig.final(build);
      before = await rig.rows();
      expect(await client.register(started.token)).toEqual(refused('the attempt is over'));
      expect(await rig.rows()).toEqual(before);
    });

    test('of an attempt that was given up is no good, and the next one is', async () => {
      const build = await rig.enqueue();
      const started = await rig.started(build);
      rig.executor.kill(started.identity.attemptId);
      const next = await rig.started(build, 2);
      before = await rig.rows();
      expect(await client.register(started.token)).toEqual(refused('the attempt is over'));
      expect(await rig.rows()).toEqual(before);
      expect((await client.register(next.token)).kind).toBe('reply');
    });
  });
});
